"""Layouts of held-out sets as people have them, each written by other software than ours."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from colours import COLOURS, png
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from eval.heldout.example import Example, fill, has_place
from eval.heldout.opening import open_heldout
from eval.tasks.retrieval import Retrieval
from eval.tasks.zeroshot import ZeroShot
from winnow.errors import UserError


def write_folder(folder: Path) -> Path:
    """Two pictures of each colour in a folder of the colour, and what lies about in such folders."""
    for name, rgb in COLOURS.items():
        (folder / name).mkdir(parents=True)
        for number in range(2):
            (folder / name / f"{name} é {number}.PNG").write_bytes(png(rgb))
    (folder / "red" / "Thumbs.db").write_bytes(b"x")
    (folder / "README.md").write_text("pictures")
    (folder / "cover.jpg").write_bytes(b"of no class")
    return folder


def test_folders_of_pictures_are_classes(tmp_path: Path, colour_embedder: Any) -> None:
    from torchvision.datasets import ImageFolder

    folder = write_folder(tmp_path / "pets")
    heldout = open_heldout(str(folder))
    peer = ImageFolder(str(folder))
    examples = list(heldout.examples())
    assert [(str(folder / e.key), int(e.label or "")) for e in examples] == peer.samples
    assert heldout.class_names() == peer.classes
    result = ZeroShot(path=str(folder), size=8).evaluate(colour_embedder)
    assert result.metrics["acc1"] == 1.0
    assert set(ZeroShot(path=str(folder)).inputs()) == {str(folder / e.key) for e in examples}


def test_a_folder_may_name_its_classes(tmp_path: Path, colour_embedder: Any) -> None:
    folder = write_folder(tmp_path / "pets")
    for name in COLOURS:
        (folder / name).rename(folder / f"n{sorted(COLOURS).index(name)}")
    (folder / "classnames.txt").write_text("\n".join(sorted(COLOURS)) + "\n")
    assert ZeroShot(path=str(folder)).evaluate(colour_embedder).metrics["acc1"] == 1.0
    named = ZeroShot(path=str(folder), class_names=tuple(reversed(sorted(COLOURS))), templates=("the {c} one",))
    assert named.evaluate(colour_embedder).metrics["acc1"] == 0.0
    (folder / "classnames.txt").write_text("red\n")
    with pytest.raises(UserError, match="1 lines for 4 folders"):
        open_heldout(str(folder)).class_names()


@pytest.mark.parametrize(
    ("name", "delimiter", "header"),
    [
        ("captions.csv", ",", ("image", "caption")),
        ("results.csv", "|", ("image_name", "comment_number", "comment")),
        ("captions.tsv", "\t", ("filepath", "title")),
    ],
)
@pytest.mark.parametrize("below", ["", "images/", "Images/"])
def test_tables_of_captions(
    tmp_path: Path, name: str, delimiter: str, header: tuple[str, ...], below: str, colour_embedder: Any
) -> None:
    """Flickr's own tables: a row per caption, with commas and quotes, and one that a reader may take for null."""
    (tmp_path / below).mkdir(exist_ok=True)
    with (tmp_path / name).open("w", newline="") as file:
        quoting = csv.QUOTE_MINIMAL if delimiter == "," else csv.QUOTE_NONE
        writer = csv.writer(file, delimiter=delimiter, quoting=quoting, quotechar=None if quoting else '"')
        writer.writerow(header)
        for colour, rgb in COLOURS.items():
            (tmp_path / below / f"{colour}.png").write_bytes(png(rgb))
            for text in (f'a {colour}, "square"', f"NA {colour}", " "):
                writer.writerow([f"{colour}.png", *["0"] * (len(header) - 2), text])
    for path in (tmp_path, tmp_path / name):
        examples = list(open_heldout(str(path)).examples())
        assert [e.captions for e in examples] == [(f'a {c}, "square"', f"NA {c}") for c in COLOURS]
        result = Retrieval(path=str(path), size=4).evaluate(colour_embedder)
        assert result.metrics["main_metric"] == 1.0
    with pytest.raises(UserError, match="use `retrieval`"):
        ZeroShot(path=str(tmp_path)).evaluate(colour_embedder)
    (tmp_path / below / "red.png").unlink()
    with pytest.raises(UserError, match=r"names the picture 'red.png', and there is no such file"):
        list(open_heldout(str(tmp_path)).examples())


def write_parquet(path: Path, columns: dict[str, Any], features: dict[str, Any] | None = None) -> None:
    table = pa.table(columns)
    if features is not None:
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)


def cells(as_struct: bool) -> list[Any]:
    encoded = [png(rgb) for rgb in COLOURS.values() for _ in range(2)]
    return [{"bytes": data, "path": None} for data in encoded] if as_struct else encoded


def test_parquet_as_cifar_has_it(tmp_path: Path, colour_embedder: Any) -> None:
    """Columns img and label, names of the classes in the schema, and a split that is not for tests."""
    labels = [i for i in range(4) for _ in range(2)]
    features = {"img": {"_type": "Image"}, "label": {"names": list(COLOURS), "_type": "ClassLabel"}}
    write_parquet(tmp_path / "data" / "test-00000-of-00001.parquet", {"img": cells(True), "label": labels}, features)
    write_parquet(
        tmp_path / "data" / "train-00000-of-00001.parquet", {"img": cells(True), "label": labels[::-1]}, features
    )
    for path in (tmp_path, tmp_path / "data", tmp_path / "data" / "test-00000-of-00001.parquet"):
        result = ZeroShot(path=str(path), size=8).evaluate(colour_embedder)
        assert result.metrics["acc1"] == 1.0
    assert len(set(result.rows["sample"])) == 8


def test_parquet_labels_without_names(tmp_path: Path, colour_embedder: Any) -> None:
    labels = [i for i in range(4) for _ in range(2)]
    write_parquet(tmp_path / "x.parquet", {"image": cells(False), "fine_label": labels})
    with pytest.raises(UserError, match="give `class_names"):
        ZeroShot(path=str(tmp_path)).evaluate(colour_embedder)
    task = ZeroShot(path=str(tmp_path), class_names=tuple(COLOURS))
    assert task.evaluate(colour_embedder).metrics["acc1"] == 1.0


def test_parquet_labels_in_words_and_captions(tmp_path: Path, colour_embedder: Any) -> None:
    words = [name for name in COLOURS for _ in range(2)]
    write_parquet(tmp_path / "a.parquet", {"image": cells(True), "label": words})
    assert ZeroShot(path=str(tmp_path / "a.parquet")).evaluate(colour_embedder).metrics["acc1"] == 1.0
    captions = [[f"a {name}", f"all {name} {i}"] for i, name in enumerate(words)]
    write_parquet(tmp_path / "b.parquet", {"image": cells(True)[::2], "caption": captions[::2]})
    result = Retrieval(path=str(tmp_path / "b.parquet"), size=4).evaluate(colour_embedder)
    assert result.metrics["main_metric"] == 1.0
    write_parquet(tmp_path / "c.parquet", {"image": [None], "caption": ["red"]})
    with pytest.raises(UserError, match=r"c\.parquet, row 0 has no picture"):
        list(open_heldout(str(tmp_path / "c.parquet")).examples())
    write_parquet(tmp_path / "d.parquet", {"x": [1]})
    with pytest.raises(UserError, match="column of pictures"):
        list(open_heldout(str(tmp_path / "d.parquet")).examples())


def test_a_folder_of_nothing_says_what_is_accepted(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no test set: accepted are a wds folder .* \(class/picture\.jpg\)"):
        open_heldout(str(tmp_path))


@pytest.mark.parametrize("cut", [0, 20, 60])
def test_a_corrupt_picture_is_named_by_shard_and_key(
    cut: int, wds_folder: Callable[..., Path], colour_embedder: Any
) -> None:
    samples = [{"png": png(rgb), "txt": name.encode(), "cls": b"0"} for name, rgb in COLOURS.items()]
    samples[3]["png"] = samples[3]["png"][:cut]
    folder = wds_folder(samples, dataset_type="retrieval")
    with pytest.raises(UserError, match=r"test/1\.tar: sample s0000003: .*(decode|picture)"):
        Retrieval(path=str(folder)).evaluate(colour_embedder)


def test_equal_keys_in_two_shards_are_two_samples(colour_captions: Path, colour_embedder: Any) -> None:
    first = (colour_captions / "test" / "0.tar").read_bytes()
    (colour_captions / "test" / "1.tar").write_bytes(first)
    result = Retrieval(path=str(colour_captions)).evaluate(colour_embedder)
    assert sorted(set(result.rows["sample"])) == ["1.tar/s0000000", "1.tar/s0000001", "s0000000", "s0000001"]


def pillow_pixels(data: bytes) -> np.ndarray:
    """What CLIP_benchmark sees: webdataset opens the picture, the model's transform converts it."""
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def odd_pictures() -> dict[str, bytes]:
    """Return pictures that viewers and Pillow's own conversion show differently."""
    rng = np.random.default_rng(0)
    out = {}
    for name, image, fields in (
        ("alpha", Image.fromarray(rng.integers(0, 256, (6, 8, 4), dtype=np.uint8), "RGBA"), {}),
        ("exif", Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)), {"exif": Image.Exif()}),
        ("sixteen", Image.fromarray(rng.integers(0, 65536, (6, 8), dtype=np.uint16)), {}),
    ):
        file = io.BytesIO()
        if "exif" in fields:
            fields["exif"][0x0112] = 6
        image.save(file, "PNG", **fields)
        out[name] = file.getvalue()
    return out


@pytest.mark.parametrize("name", ["alpha", "exif", "sixteen"])
def test_compat_has_clip_benchmarks_pixels(name: str) -> None:
    example = Example("k", "w", odd_pictures()[name])
    expected = pillow_pixels(example.image)
    assert np.array_equal(example.pixels("compat"), expected)
    assert not np.array_equal(example.pixels("viewer"), expected)


def test_both_decode_a_plain_picture_alike() -> None:
    example = Example("k", "w", png((10, 20, 30)))
    assert np.array_equal(example.pixels("compat"), example.pixels("viewer"))


def test_compat_has_clip_benchmarks_captions(wds_folder: Callable[..., Path]) -> None:
    text = "a red\\nsquare\n\nall red\x85more\n"
    folder = wds_folder([{"png": png((1, 2, 3)), "txt": text.encode()}], dataset_type="retrieval")
    found = {decode: next(open_heldout(str(folder), decode).examples()).captions for decode in ("compat", "viewer")}
    assert found["compat"] == tuple(text.splitlines())
    assert found["viewer"] == ("a red\nsquare", "all red\x85more")


@given(st.text(max_size=12), st.text(alphabet="ab {}", max_size=8))
def test_braces_of_names_and_templates_stay(name: str, rest: str) -> None:
    place = "{c}" + rest.replace("{", "{{").replace("}", "}}")
    assert fill(place, name) == place.format(c=name)
    assert fill("{}" + rest.replace("{", "").replace("}", ""), name) == name + rest.replace("{", "").replace("}", "")


def test_a_template_without_a_place_is_refused() -> None:
    assert has_place(["{c}", "a {} thing", "{x} of {c}", "{{{c}}}"])
    assert not has_place(["a thing"])
    assert not has_place(["{{c}}"])
    assert not has_place([])
    assert fill("{x} of {c}", "{c}") == "{x} of {c}"
