"""Lists that others wrote: nothing changes, nothing vanishes, whatever comes first."""

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.sources.files import Files
from winnow.errors import UserError


def read(folder: Path, **fields: Any) -> tuple[list[dict[str, Any]], Files]:
    source = Files(path=str(folder), **fields)
    return [row for table in source.tables() for row in table.to_pylist()], source


def url(number: int) -> str:
    return f"http://a.example/{number}.jpg"


WORDS = st.sampled_from(
    ["NA", "null", "nan", "007", "2024-01-02", "1e5", "0.10", "-0", "12", "0.5", "x y", '"q', "a,b"]
)


@settings(max_examples=60, deadline=None)
@given(st.lists(WORDS, min_size=1, max_size=8), st.integers(1, 8), st.sampled_from(["csv", "tsv", "jsonl", "json"]))
def test_text_comes_out_as_it_went_in(tmp_path_factory: Any, words: list[str], cut: int, kind: str) -> None:
    """Captions always, and a carried column wherever one value of it is no number, in whichever file."""
    folder = tmp_path_factory.mktemp("in")
    rows = [{"url": url(n), "caption": word, "tag": word} for n, word in enumerate([*words, "no number"])]
    for number, part in enumerate((rows[:cut], rows[cut:])):
        if not part:
            continue
        path = folder / f"{number}.{kind}"
        if kind == "jsonl":
            path.write_text("".join(json.dumps(row) + "\n" for row in part))
        elif kind == "json":
            path.write_text(json.dumps(part))
        else:
            with path.open("w", newline="") as file:
                tsv = {"delimiter": "\t", "quoting": csv.QUOTE_NONE, "quotechar": None}
                writer = csv.DictWriter(file, ["url", "caption", "tag"], **(tsv if kind == "tsv" else {}))
                writer.writeheader()
                writer.writerows(part)
    found, source = read(folder)
    assert [row["text"] for row in found] == [row["caption"] for row in rows]
    assert [row["tag"] for row in found] == [row["tag"] for row in rows]
    assert source.unread().left_out == {}


@settings(max_examples=60, deadline=None)
@given(
    st.permutations([pa.array([None, None]), pa.array([1, 2**40]), pa.array([0.25, None]), pa.array([7], pa.int8())])
)
def test_a_type_does_not_depend_on_which_file_comes_first(tmp_path_factory: Any, parts: list[pa.Array]) -> None:
    folder = tmp_path_factory.mktemp("in")
    for number, values in enumerate(parts):
        urls = [url(10 * number + n) for n in range(len(values))]
        pq.write_table(pa.table({"url": urls, "text": urls, "score": values}), folder / f"{number}.parquet")
    tables = list(Files(path=str(folder)).tables())
    assert {table.schema.field("score").type for table in tables} == {pa.float64()}
    assert [v for table in tables for v in table["score"].to_pylist()] == [
        v for part in parts for v in part.to_pylist()
    ]


def test_a_number_that_no_common_type_holds_is_refused_by_name(tmp_path: Path) -> None:
    pq.write_table(pa.table({"url": [url(0)], "text": ["x"], "id": [2**60 + 1]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"url": [url(1)], "text": ["x"], "id": [0.5]}), tmp_path / "b.parquet")
    with pytest.raises(UserError, match=r"column 'id' of '.*a.parquet': '1152921504606846977' cannot become double"):
        read(tmp_path)
    found, _ = read(tmp_path, types={"id": "string"})
    assert [row["id"] for row in found] == ["1152921504606846977", "0.5"]


def test_odd_rows_are_left_out_and_named_up_to_a_limit(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(
        b"url,caption\nhttp://a/1,one\nhttp://a/2,too,many\nhttp://a/3,\xff\xfe\nhttp://a/4,four\n"
    )
    (tmp_path / "b.jsonl").write_text('{"url": "http://a/5", "caption": "five"}\nno json\n[1]\n')
    (tmp_path / "c.jsonl").write_text('{"url": "http://a/6", "caption": "half \\ud83d"}\n')
    found, source = read(tmp_path)
    assert [row["text"] for row in found] == ["one", "four", "five"]
    account = source.unread()
    assert {name: reason.count for name, reason in account.left_out.items()} == {
        "3 columns instead of 2": 1, "not UTF-8": 1, "no JSON object": 2, "text that is not Unicode": 1
    }  # fmt: skip
    assert account.left_out["no JSON object"].example.endswith("b.jsonl, line 2")
    with pytest.raises(UserError, match=r"more than `source.max_bad_rows` \(1\)"):
        read(tmp_path, max_bad_rows=1)


def test_lists_of_addresses_and_folders_of_hive(tmp_path: Path) -> None:
    """A list has no captions; a folder `lang=en` is a column."""
    folder = tmp_path / "lang=en"
    folder.mkdir()
    (folder / "a.txt").write_text(f"{url(0)}\n\n{url(1)}\n")
    found, _ = read(tmp_path)
    assert found == [{"url": url(n), "text": None, "lang": "en"} for n in range(2)]


def test_json_as_pandas_writes_it(tmp_path: Path) -> None:
    records = [{"url": url(n), "caption": f"c{n}"} for n in range(3)]
    (tmp_path / "a.json").write_text(json.dumps(records))
    columns = {name: {str(n): row[name] for n, row in enumerate(records)} for name in ("url", "caption")}
    (tmp_path / "b.json").write_text(json.dumps(columns))
    found, _ = read(tmp_path)
    assert [row["text"] for row in found] == ["c0", "c1", "c2"] * 2
    (tmp_path / "a.json").write_text('"text"')
    with pytest.raises(UserError, match="one array of objects, not str"):
        read(tmp_path)


def test_delimiter_quote_and_choice_of_columns(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text(f"url;caption;a;b\n{url(0)};'x; y';1;2\n")
    found, _ = read(tmp_path, delimiter=";", quote="'", only=["b"], types={"b": "string"})
    assert found == [{"url": url(0), "text": "x; y", "b": "2"}]


def test_a_choice_of_columns_that_no_file_has(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f"url,caption\n{url(0)},x\n")
    for fields in ({"types": {"phsah": "string"}}, {"only": ["phsah"]}):
        with pytest.raises(UserError, match="none has 'phsah'"):
            read(tmp_path, **fields)


def test_captions_larger_than_a_block_of_json(tmp_path: Path) -> None:
    long = "x" * 3_000_000
    (tmp_path / "a.csv").write_text(f'url,caption\n{url(0)},"{long}"\n')
    (tmp_path / "b.jsonl").write_text(json.dumps({"url": url(1), "caption": long}) + "\n")
    found, _ = read(tmp_path)
    assert [len(row["text"]) for row in found] == [3_000_000] * 2


def test_every_column_is_carried_along(tmp_path: Path) -> None:
    """Of two captions the one that is no `text`, and one that has a name which a renamed column takes."""
    columns = {"url": [url(0)], "text": ["t"], "caption": ["c"], "alt": ["a"]}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    found, source = read(tmp_path, columns={"text": "alt"})
    assert found == [{"url": url(0), "source_text": "t", "caption": "c", "text": "a"}]
    assert "column 'text' is carried along as `source_text`" in source.unread().notes
