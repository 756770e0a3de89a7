import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipeline.pictureset import PictureSet
from pipeline.picturesets.folder import Folder
from pipeline.picturesets.labelled_parquet import LabelledParquet
from pipeline.picturesets.openmoji import OpenMoji
from pipeline.picturesets.webdataset import WebDataset
from pipeline.webnoise.draw import render
from pipeline.webnoise.evaluation import evaluation_scene, num_evaluated, write_heldout
from pipeline.webnoise.sample import sample_at
from pipeline.webnoise.world import World
from winnow.errors import UserError
from winnow.images import decode_image
from winnow.registry import names, resolve
from winnow.shards import ShardWriter, read_shard

SHARED = Path(__file__).parents[4] / "shared" / "data"
CLASSES = ("cat", "dog", "red_panda")


def picture(number: int, format: str = "JPEG") -> bytes:
    """Return a picture of one colour, which tells it from the others."""
    buffer = io.BytesIO()
    Image.new("RGB", (48 + number % 3, 40), color(number)).save(buffer, format, quality=95)
    return buffer.getvalue()


def color(number: int) -> tuple[int, int, int]:
    return (40 * (number % 6) + 20, 30 * (number % 8) + 10, (97 * number) % 256)


def mean_color(image: Image.Image) -> list[float]:
    return np.asarray(image.convert("RGB")).reshape(-1, 3).mean(axis=0).tolist()


def make_tar(path: Path, rows: list[dict[str, bytes]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as file:
        writer = ShardWriter(file)
        for number, members in enumerate(rows):
            writer.write(f"{number:05d}", members)
        writer.close()


def make_folder(root: Path) -> Folder:
    for number in range(30):
        place = root / CLASSES[number % 3] / f"{number:03d}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(picture(number))
    (root / "cat" / "readme.md").write_text("no picture")
    return Folder(path=str(root))


def make_captioned_folder(root: Path) -> Folder:
    root.mkdir()
    for number in range(30):
        (root / f"{number:03d}.png").write_bytes(picture(number, "PNG"))
        (root / f"{number:03d}.txt").write_text(f"a sheet of paper\nin shade {number}\n")
    (root / "no-caption.png").write_bytes(picture(99, "PNG"))
    return Folder(path=str(root))


def make_parquet(root: Path) -> LabelledParquet:
    root.mkdir()
    for part in range(2):
        numbers = range(15 * part, 15 * part + 15)
        table = {
            "img": [{"bytes": picture(number), "path": None} for number in numbers],
            "label": [number % 3 for number in numbers],
        }
        pq.write_table(pa.table(table), root / f"part-{part}.parquet", row_group_size=4)
    return LabelledParquet(path=str(root / "*.parquet"), image="img", label="label", class_names=CLASSES)


def make_captioned_tars(root: Path) -> WebDataset:
    for part in range(2):
        rows = [
            {"jpg": picture(number), "txt": f"a sheet of paper in shade {number}".encode(), "json": b"{}"}
            for number in range(15 * part, 15 * part + 15)
        ]
        make_tar(root / f"{part:05d}.tar", rows)
    return WebDataset(path=str(root))


def make_labelled_tars(root: Path) -> WebDataset:
    make_tar(
        root / "test" / "0.tar",
        [{"webp": picture(number, "WEBP"), "cls": str(number % 3).encode()} for number in range(30)],
    )
    (root / "classnames.txt").write_text("\n".join(name.replace("_", " ") for name in CLASSES) + "\n")
    return WebDataset(path=str(root / "test"))


MAKERS = {
    "folder": make_folder,
    "captioned folder": make_captioned_folder,
    "parquet": make_parquet,
    "captioned tars": make_captioned_tars,
    "labelled tars": make_labelled_tars,
}


def spec(pictures: PictureSet) -> dict[str, object]:
    use = {Folder: "folder", LabelledParquet: "labelled_parquet", WebDataset: "webdataset"}[type(pictures)]
    return {"use": use, **pictures.model_dump(mode="json", exclude_defaults=True)}


@pytest.mark.parametrize("name", names("pipeline.picturesets"))
def test_every_set_is_a_component_that_costs_nothing_to_name(name):
    kind = resolve("pipeline.picturesets", name)
    assert issubclass(kind, PictureSet)
    assert kind.tiny() == kind.model_validate(kind.tiny().model_dump())


@pytest.mark.parametrize("name", MAKERS)
def test_subjects_are_the_pictures_of_the_set(name, tmp_path):
    pictures = MAKERS[name](tmp_path / "set")
    subjects = pictures.subjects
    assert [subject.id for subject in subjects] == sorted({subject.id for subject in subjects})
    assert len(subjects) == 30
    colors = {tuple(color(number)) for number in range(30)}
    for subject in subjects:
        found = mean_color(pictures.picture(subject, 64))
        assert min(max(abs(a - b) for a, b in zip(found, each, strict=True)) for each in colors) < 4
    if "captioned" in name:
        assert pictures.groups == ("",)
        by_caption = {subject.caption: subject for subject in subjects}
        for number in (0, 7, 29):
            subject = by_caption[f"a sheet of paper in shade {number}"]
            assert mean_color(pictures.picture(subject, 64)) == pytest.approx(color(number), abs=4)
    else:
        assert pictures.groups == ("cat", "dog", "red panda")
        assert subjects[0].names["de"].lower() in ("katze", "hund")
        assert all(subject.name == subject.group for subject in subjects)


@pytest.mark.parametrize("name", MAKERS)
def test_a_world_can_be_made_of_every_set(name, tmp_path):
    pictures = MAKERS[name](tmp_path / "set")
    world = World(pictures=spec(pictures), heldout_fraction=0.3, num_heldout=6, noise={"leak": 0.05})
    samples = [sample_at(world, index) for index in range(120)]
    assert samples == [sample_at(world.model_copy(), index) for index in range(120)]
    assert {sample.category for sample in samples} == set(world.shares)
    for sample in samples[:12]:
        pixels = decode_image(render(sample.scene, world.picture_set))
        assert sample.scene.edit is not None or pixels.shape[:2] == (sample.scene.height, sample.scene.width)
    shown, heldout = ({s.base for group in side.values() for some in group for s in some} for side in world.subjects)
    assert not shown & heldout
    for sample in samples:
        if sample.scene.subject is not None:
            assert sample.scene.subject.base in (heldout if sample.leak_of is not None else shown)
    evaluated = [evaluation_scene(world, index)[0].subject.id for index in range(num_evaluated(world))]
    assert len(set(evaluated)) == len(evaluated)
    (tmp_path / "out").mkdir()
    files = write_heldout(world, tmp_path / "out")
    tasks = {file.split("/")[1] for file in files}
    assert tasks == ({"retrieval"} if "captioned" in name else {"classes", "retrieval"})
    found = list(read_shard(io.BytesIO(files["heldout/retrieval/test/0.tar"].read_bytes())))
    assert [max(decode_image(sample.image).shape) for sample in found] == [256] * len(evaluated)


def test_a_pool_needs_two_pictures(tmp_path):
    make_tar(tmp_path / "0.tar", [{"jpg": picture(0), "txt": b"a sheet of paper"}])
    world = World(pictures={"use": "webdataset", "path": str(tmp_path)}, heldout_fraction=0.0)
    with pytest.raises(UserError, match="fewer than two pictures"):
        sample_at(world, 0)


def test_the_urls_of_a_set_do_not_depend_on_where_it_lies(tmp_path):
    worlds = [World(pictures=spec(make_folder(tmp_path / place))) for place in ("here", "there")]
    assert worlds[0].album == worlds[1].album
    assert sample_at(worlds[0], 3).url == sample_at(worlds[1], 3).url


def test_openmoji_keeps_renderings_of_one_picture_together():
    subjects = {subject.id: subject for subject in OpenMoji().subjects}
    same = [("1F44B", "1F44B-1F3FB", "1F44B-1F3FF"), ("1F468-200D-1F692", "1F469-1F3FD-200D-1F692"), ("1F499", "1F49A")]
    for codes in same:
        assert len({subjects[code].base for code in codes}) == 1
    assert subjects["1F98A"].base != subjects["1F43A"].base


def test_openmoji_has_groups_and_names():
    subjects = {subject.id: subject for subject in OpenMoji().subjects}
    assert len(subjects) > 3500
    assert {subject.group for subject in subjects.values()} == set(OpenMoji().groups)
    expected = {"1F98A": "animals and nature", "1F34E": "food and drink", "1F600": "smileys and emotion"}
    expected |= {"1F1E9-1F1EA": "flags", "1F680": "travel and places", "1F511": "objects", "2648": "symbols"}
    assert {code: subjects[code].group for code in expected} == expected
    assert subjects["1F1E9-1F1EA"].name == "flag of Germany"
    assert OpenMoji().picture(subjects["1F98A"], 150).size == (150, 150)


@pytest.mark.parametrize(
    ("pictures", "message"),
    [
        (Folder(path="nowhere"), "no folder"),
        (WebDataset(path="nowhere/*.tar"), "nothing to read"),
        (LabelledParquet(path="nowhere.parquet"), "nothing to read"),
    ],
)
def test_a_missing_set_is_named(pictures, message):
    with pytest.raises(UserError, match=message):
        pictures.subjects  # noqa: B018


def test_mistakes_in_a_set_are_named(tmp_path):
    parquet = make_parquet(tmp_path / "parquet")
    for fields, message in (
        ({"label": "klass"}, "no column 'klass'.*img, label"),
        ({"class_names": ("cat",)}, "class 1 has no name"),
        ({"key": "label"}, "does not tell the rows"),
    ):
        with pytest.raises(UserError, match=message):
            parquet.model_copy(update=fields).subjects  # noqa: B018
    make_tar(tmp_path / "tars" / "0.tar", [{"jpg": picture(0), "cls": b"4"}])
    with pytest.raises(UserError, match=r"class 4 .*class_names"):
        WebDataset(path=str(tmp_path / "tars")).subjects  # noqa: B018
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "0.jpg").write_bytes(picture(0))
    with pytest.raises(UserError, match="neither"):
        Folder(path=str(tmp_path / "bare")).subjects  # noqa: B018


@pytest.mark.skipif(not SHARED.is_dir(), reason="development data is not here")
@pytest.mark.parametrize(
    ("file", "count", "classes"), [("cifar10_test", 10_000, 10), ("imagenet_samples_256px", 1000, 996)]
)
def test_development_sets_make_worlds(file, count, classes):
    world = World(pictures={"use": "labelled_parquet", "path": str(SHARED / f"{file}.parquet"), "key": "key"})
    assert len(world.picture_set.subjects) == count
    assert len(world.picture_set.groups) >= classes
    assert 0.1 < sum(map(len, world.subjects[1].values())) / count < 0.2
    for index in range(8):
        scene = sample_at(world, index).scene
        assert decode_image(render(scene, world.picture_set)).std() > 5
