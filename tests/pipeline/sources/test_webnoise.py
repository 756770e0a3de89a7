import io
import pickle

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.engine.perform import perform
from pipeline.sources.webnoise import WebNoise
from pipeline.stages.download import Download
from pipeline.stages.ingest import Ingest
from pipeline.webnoise.draw import render
from pipeline.webnoise.extras import TRUTH
from pipeline.webnoise.sample import sample_at
from winnow.errors import UserError
from winnow.images import decode_image
from winnow.journal import Journal
from winnow.shards import read_shard


def test_tables_do_not_depend_on_the_size_of_the_pool():
    small = pa.concat_tables(WebNoise(num_samples=20).tables())
    assert pa.concat_tables(WebNoise(num_samples=1100).tables()).slice(0, 20).equals(small)
    assert set(small.column_names) == {"url", "text"}


def test_every_seed_has_its_own_urls_and_fingerprint():
    one, two = WebNoise(num_samples=5), WebNoise(num_samples=5, seed=1)
    urls = [set(pa.concat_tables(source.tables())["url"].to_pylist()) for source in (one, two)]
    assert not urls[0] & urls[1]
    assert one.fingerprint() != two.fingerprint()
    assert pickle.loads(pickle.dumps(one)).fingerprint() == one.fingerprint()


def test_shares_of_trusted_text_are_shares():
    with pytest.raises(ValueError, match="more than 1"):
        WebNoise(trusted_text_share=0.6, trusted_text_only_share=0.5)


@pytest.fixture(scope="module")
def captioned(tmp_path_factory):
    """A folder of pictures with captions, and the fields of a pool drawn from it."""
    folder = tmp_path_factory.mktemp("set")
    world = WebNoise()
    for index in range(40):
        scene = sample_at(world, index).scene
        (folder / f"{index}.{scene.format}").write_bytes(render(scene, world.picture_set))
        (folder / f"{index}.txt").write_text(f"drawing number {index} on the wall")
    pictures = {"use": "folder", "path": str(folder)}
    return {
        "use": "webnoise", "pictures": pictures, "num_samples": 60, "num_trusted": 5, "num_heldout": 4,
        "heldout_fraction": 0.3,
    }  # fmt: skip


def make_pool(folder, source, **fields):
    """Ingest and download; return the samples of all shards by key."""
    common = {"pool": str(folder), "run_dir": str(folder), "source": source}
    ingest = Ingest(**common, rows_per_file=40)
    with Download(**common, stall_timeout=1.0, max_bytes=2_000_000, image_size=128, **fields).session() as download:
        for stage in (ingest, download):
            for unit in stage.plan():
                outcome = perform(stage, unit)
                assert not outcome.error, outcome.detail or outcome.error
                for row in outcome.rows:
                    Journal(stage.store).append(row)
    tars = [(folder / "shards" / f"{shard}.tar").read_bytes() for shard in ("00000", "00001")]
    return {sample.key: sample for tar in tars for sample in read_shard(io.BytesIO(tar))}


@pytest.fixture(scope="module")
def served(captioned, tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    return folder, make_pool(folder, captioned)


def test_a_small_pool_end_to_end_without_a_word_of_the_truth(served):
    folder, samples = served
    assert len(samples) > 45
    truth = {row["uid"]: row for row in pq.read_table(folder / "truth.parquet").to_pylist()}
    assert len(truth) == 60
    hidden = set(TRUTH.names) - {"uid", "text"}
    for shard in ("00000", "00001"):
        for part in ("metadata", "shards"):
            assert not hidden & set(pq.read_schema(folder / part / f"{shard}.parquet").names)
    for sample in samples.values():
        assert set(sample.members) == {"jpg", "txt", "json"}
        assert not hidden & set(sample.meta)
        assert sample.meta["uid"] in truth
        height, width = decode_image(sample.image).shape[:2]
        assert max(height, width) <= 128


def test_drawing_without_the_web_gives_the_same_pictures_and_all_of_them(served, captioned, tmp_path):
    _, over_http = served
    directly = make_pool(tmp_path, captioned, direct=True)
    assert len(directly) == 60
    assert all(directly[key].members == sample.members for key, sample in over_http.items())


def test_only_a_source_that_draws_can_do_without_the_web(tmp_path):
    with pytest.raises(ValueError, match="direct needs a source that draws"):
        Download(pool=str(tmp_path), run_dir=str(tmp_path), source={"use": "files", "path": "x.csv"}, direct=True)


def test_a_url_of_another_pool_is_refused():
    url = sample_at(WebNoise(seed=1), 3).url
    assert WebNoise(seed=1).body(url)
    with pytest.raises(UserError, match="no URL of this pool"):
        WebNoise(seed=2).body(url)
