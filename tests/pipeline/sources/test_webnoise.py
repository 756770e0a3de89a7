import io
import json
import pickle

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.perform import perform
from pipeline.sources.webnoise import WebNoise
from pipeline.stages.download import Download
from pipeline.stages.ingest import Ingest
from pipeline.webnoise.draw import render
from pipeline.webnoise.extras import TRUTH
from pipeline.webnoise.sample import sample_at
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


def test_a_small_pool_of_captioned_pictures_end_to_end(tmp_path):
    """Ingest and download through the pool's web, from a folder of pictures with captions."""
    (tmp_path / "set").mkdir()
    for index in range(40):
        scene = sample_at(WebNoise(), index).scene
        (tmp_path / "set" / f"{index}.{scene.format}").write_bytes(render(scene, WebNoise().picture_set))
        (tmp_path / "set" / f"{index}.txt").write_text(f"drawing number {index} on the wall")
    source = {"use": "webnoise", "pictures": {"use": "folder", "path": str(tmp_path / "set")}, "num_samples": 60}
    source |= {"num_trusted": 5, "num_heldout": 4, "heldout_fraction": 0.3}
    common = {"pool": str(tmp_path / "pool"), "run_dir": str(tmp_path / "pool"), "source": source}
    ingest = Ingest(**common, rows_per_file=40)
    for unit in ingest.plan():
        outcome = perform(ingest, unit)
        assert not outcome.error, outcome.detail
        for row in outcome.rows:
            Journal(ingest.store).append(row)
    with Download(**common, stall_timeout=1.0, max_bytes=2_000_000, image_size=128).session() as download:
        for unit in download.plan():
            outcome = perform(download, unit)
            assert not outcome.error, outcome.detail
    truth = {row["uid"]: row for row in pq.read_table(tmp_path / "pool" / "truth.parquet").to_pylist()}
    assert len(truth) == 60
    hidden = set(TRUTH.names) - {"uid", "text"}
    pairs = 0
    for shard in ("00000", "00001"):
        table = pq.read_table(tmp_path / "pool" / "shards" / f"{shard}.parquet")
        assert not hidden & set(table.column_names)
        assert not hidden & set(pq.read_schema(tmp_path / "pool" / "metadata" / f"{shard}.parquet").names)
        for sample in read_shard(io.BytesIO((tmp_path / "pool" / "shards" / f"{shard}.tar").read_bytes())):
            assert set(sample.members) == {"jpg", "txt", "json"}
            assert not hidden & set(json.loads(sample.members["json"]))
            assert sample.meta["uid"] in truth
            assert decode_image(sample.image).shape[0] > 0
            pairs += 1
    assert pairs > 45
