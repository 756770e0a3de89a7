import gzip

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from pipeline.sources.files import Files
from winnow.errors import UserError

TABLE = pa.table(
    {"SAMPLE_ID": [1, 2], "URL": ["http://a/1", "http://a/2"], "TEXT": ["wheat, ripe", "007"], "WIDTH": [640, 320]}
)


def write(path):
    """Write TABLE in the format of the file name."""
    plain = path.name.removesuffix(".gz")
    if plain.endswith(".parquet"):
        pq.write_table(TABLE, path)
        return
    if plain.endswith(".jsonl"):
        import json

        data = "".join(json.dumps(row) + "\n" for row in TABLE.to_pylist()).encode()
    else:
        sink = pa.BufferOutputStream()
        tsv = plain.endswith(".tsv")
        options = pyarrow.csv.WriteOptions(
            delimiter="\t" if tsv else ",", quoting_style="none" if tsv else "needed", quoting_header="none"
        )
        pyarrow.csv.write_csv(TABLE, sink, options)
        data = sink.getvalue().to_pybytes()
    path.write_bytes(gzip.compress(data) if path.name.endswith(".gz") else data)


@pytest.mark.parametrize("name", ["a.parquet", "a.csv", "a.csv.gz", "a.tsv", "a.jsonl", "a.jsonl.gz"])
def test_every_format_gives_the_same_rows(tmp_path, name):
    write(tmp_path / name)
    for path in (tmp_path / name, tmp_path, tmp_path / "a.*"):
        table = pa.concat_tables(Files(path=str(path)).tables())
        assert table["url"].to_pylist() == ["http://a/1", "http://a/2"]
        assert table["text"].to_pylist() == ["wheat, ripe", "007"]
        assert table["original_width"].to_pylist() == [640, 320]
        assert table["SAMPLE_ID"].to_pylist() == [1, 2]


def test_datacomp_columns_stand_as_they_are(tmp_path):
    columns = {
        "uid": ["0" * 32],
        "url": ["u"],
        "text": ["t"],
        "original_width": [1],
        "clip_b32_similarity_score": [0.3],
    }
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    (table,) = Files(path=str(tmp_path)).tables()
    assert table.column_names == list(columns)


def test_laion_columns_are_known_and_the_others_come_along(tmp_path):
    columns = {
        "SAMPLE_ID": [1.0],
        "URL": ["http://a"],
        "TEXT": ["t"],
        "LICENSE": ["?"],
        "NSFW": ["UNLIKELY"],
        "similarity": [0.31],
        "WIDTH": [640.0],
        "HEIGHT": [480.0],
        "LANGUAGE": ["de"],
        "pwatermark": [0.1],
        "punsafe": [0.2],
    }
    pq.write_table(pa.table(columns), tmp_path / "part-00000.parquet")
    (table,) = Files(path=str(tmp_path / "part-*.parquet")).tables()
    ours = {"URL": "url", "TEXT": "text", "WIDTH": "original_width", "HEIGHT": "original_height"}
    assert table.column_names == [ours.get(name, name) for name in columns]
    assert table.to_pylist() == [{ours.get(name, name): value[0] for name, value in columns.items()}]


def test_an_explicit_mapping_wins(tmp_path):
    pq.write_table(pa.table({"url": ["page"], "image": ["http://a"], "text": ["t"]}), tmp_path / "a.parquet")
    (table,) = Files(path=str(tmp_path), columns={"url": "image"}).tables()
    assert table.to_pylist() == [{"url": "http://a", "text": "t", "source_url": "page"}]


def test_large_files_come_in_row_groups(tmp_path):
    many = pa.table({"url": ["u"] * 1000, "text": ["t"] * 1000})
    pq.write_table(many, tmp_path / "a.parquet", row_group_size=100)
    assert sum(table.num_rows for table in Files(path=str(tmp_path)).tables()) == 1000


@pytest.mark.parametrize(
    ("make", "fields", "words"),
    [
        (lambda folder: None, {}, "nothing to read"),
        (lambda folder: pq.write_table(pa.table({"url": ["u"]}), folder / "a.parquet"), {}, "`text`"),
        (lambda folder: write(folder / "a.parquet"), {"columns": {"url": "adress"}}, "adress"),
        (lambda folder: (folder / "a.parquet").write_bytes(b"PAR1 not"), {}, "cannot read"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, make, fields, words):
    make(tmp_path)
    with pytest.raises(UserError, match=words):
        list(Files(path=str(tmp_path), **fields).tables())


def test_fingerprint_follows_the_files(tmp_path):
    write(tmp_path / "a.csv")
    source = Files(path=str(tmp_path))
    before = source.fingerprint()
    assert source.fingerprint() == before
    write(tmp_path / "b.csv")
    assert source.fingerprint() != before
    assert Files(path=str(tmp_path / "a.csv")).fingerprint() != before


def test_words_that_other_readers_take_for_nothing_stay_text(tmp_path):
    words = ["NA", "null", "N/A", "nan", "None"]
    lines = "".join(f'http://a/{word},"{word}",{word}x\n' for word in words)
    (tmp_path / "a.csv").write_text("url,caption,lang\n" + lines + "http://a/en,,NA\n")
    table = pa.concat_tables(Files(path=str(tmp_path)).tables())
    assert table["text"].to_pylist() == [*words, None]
    assert table["lang"].to_pylist() == [*(f"{word}x" for word in words), "NA"]


def test_a_remote_file_is_named_with_its_scheme() -> None:
    import fsspec

    fsspec.filesystem("memory").pipe_file("/told/a.csv", b"a,b\n1,2\n")
    with pytest.raises(UserError, match=r"in 'memory:///?told/a\.csv', which has a, b"):
        list(Files(path="memory://told/*.csv").tables())
