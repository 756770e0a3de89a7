import io
import json
from collections import Counter

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline.sources.webnoise import WebNoise
from pipeline.webnoise.draw import lettering_of
from pipeline.webnoise.extras import TRUTH, write_trusted
from pipeline.webnoise.sample import sample_at
from pipeline.webnoise.world import World
from winnow.errors import UserError
from winnow.images import decode_image
from winnow.shards import read_shard
from winnow.uid import make_uid


def samples(path):
    return list(read_shard(io.BytesIO(path.read_bytes())))


@pytest.fixture(scope="module")
def truth(tmp_path_factory):
    source = WebNoise(num_samples=800, noise={"leak": 0.02})
    folder = tmp_path_factory.mktemp("truth")
    files = source.extras("truth", folder)
    return source, pq.read_table(files["truth.parquet"])


def test_truth_says_what_the_samples_are(truth):
    source, table = truth
    assert table.schema.equals(TRUTH)
    uids = table["uid"].to_pylist()
    assert len(set(uids)) == len(uids) == 800
    for index, row in enumerate(table.to_pylist()):
        sample = sample_at(source, index)
        assert row["uid"] == make_uid(sample.url, sample.text)
        assert row["category"] == sample.category
        assert row["low_quality"] == (row["defect"] != "")
        assert row["wrong_language"] == (row["language"] != "en")
        assert row["leak"] == (row["leak_of"] != "")
        assert row["near_duplicate"] == (row["duplicate_of"] != "")
        assert not row["near_duplicate"] or row["duplicate_of"] == uids[sample.duplicate_of]
        lettering = lettering_of(sample.scene)
        assert row["text"] == (lettering.text if lettering is not None else "")
        boxes = json.loads(row["text_boxes"])
        assert " ".join(box["text"] for box in boxes) == row["text"]
        for box in boxes:
            polygon = np.array(box["polygon"])
            assert polygon.shape == (4, 2)
            assert ((polygon >= 0) & (polygon <= 1)).all()
        assert bool(boxes) == (
            row["category"] in ("visual_random_text", "visual_and_text", "text") or row["placeholder"]
        )


def test_every_noise_occurs(truth):
    _, table = truth
    for field in TRUTH:
        if str(field.type) == "bool":
            assert 0 < sum(table[field.name].to_pylist()) < 400, field.name


def test_the_truth_of_a_sample_does_not_depend_on_the_size_of_the_pool(truth, tmp_path):
    source, table = truth
    smaller = source.model_copy(update={"num_samples": 50}).extras("truth", tmp_path)
    assert pq.read_table(smaller["truth.parquet"]).equals(table.slice(0, 50))


def test_trusted_pairs_come_with_words_in_their_share(tmp_path):
    world = World()
    drawn = {}
    for name, shares in (("none", (0.0, 0.0)), ("all", (1.0, 0.0)), ("only", (0.0, 1.0))):
        folder = tmp_path / name
        folder.mkdir()
        files = write_trusted(world, folder, 30, *shares, samples_per_shard=20)
        assert list(files) == ["trusted/00000.tar", "trusted/00001.tar"]
        drawn[name] = [sample for path in files.values() for sample in samples(path)]
        assert len(drawn[name]) == 30
    for one, other in zip(drawn["none"], drawn["all"], strict=True):  # the same pictures, with words over them
        assert one.caption == other.caption
        assert one.meta == other.meta
        assert decode_image(one.image).shape == decode_image(other.image).shape
    changed = [
        np.mean(np.abs(decode_image(one.image).astype(int) - decode_image(other.image)).max(axis=2) > 32)
        for one, other in zip(drawn["none"], drawn["all"], strict=True)
    ]
    assert 0.003 < np.median(changed) < 0.3
    groups = [sample.meta["group"] for sample in drawn["none"]]
    others = [sample.meta["group"] for sample in drawn["only"]]
    assert all(one != other for one, other in zip(groups, others, strict=True))
    assert [sample.caption for sample in drawn["only"]] == [sample.caption for sample in drawn["none"]]


def test_heldout_sets_of_drawings(tmp_path):
    source = WebNoise(num_heldout=27)
    files = source.extras("heldout", tmp_path)
    tasks = {name.split("/")[1] for name in files}
    assert tasks == {"groups", "colors", "retrieval"}
    for task in tasks:
        found = samples(files[f"heldout/{task}/test/0.tar"])
        assert len(found) == 27
        assert all(decode_image(sample.image).shape == (256, 256, 3) for sample in found)
    labels = Counter(int(s.members["cls"]) for s in samples(files["heldout/groups/test/0.tar"]))
    names = files["heldout/groups/classnames.txt"].read_text().splitlines()
    assert labels == dict.fromkeys(range(9), 3)
    assert tuple(names) == source.heldout_groups


def test_no_held_out_picture_is_an_error_that_says_what_to_change(tmp_path):
    with pytest.raises(UserError, match="heldout_fraction"):
        WebNoise(heldout_fraction=0.0).extras("heldout", tmp_path)
