"""Every command of docs/interoperation.md runs, in its order, with the page's own config."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tiny_pool import write_pool
from typer.testing import CliRunner

from pipeline.attachments.datacomp_metadata import DatacompMetadata
from pipeline.cli import REGISTRIES, app
from winnow.registry import names

PAGE = Path(__file__).parents[2] / "docs" / "interoperation.md"


def write_foreign(folder: Path, uids: list[str]) -> None:
    """Write what the page's config names."""
    rng, num = np.random.default_rng(0), len(uids)
    scores = rng.random(num)
    for name in ("datacomp", "d2m", "laion", "embeddings/metadata", "embeddings/img_emb", "embeddings/text_emb"):
        (folder / name).mkdir(parents=True)
    table = {"uid": uids, "clip_l14_similarity_score": scores, "clip_b32_similarity_score": scores}
    pq.write_table(pa.table(table), folder / "datacomp/0.parquet")
    np.savez(folder / "datacomp/0.npz", l14_img=rng.random((num, 8)), l14_txt=rng.random((num, 8)))
    pq.write_table(pa.table({"uid": uids, "oai-clip-vit-l14-score": scores}), folder / "d2m/0123456789abcdef.parquet")
    pd.DataFrame({"uid": uids}).to_parquet(folder / "embeddings/metadata/metadata_0.parquet")
    for name in ("img_emb", "text_emb"):
        np.save(folder / f"embeddings/{name}/{name}_0.npy", rng.random((num, 8)).astype(np.float16))
    urls = [f"http://pictures.test/{n}.jpg" for n in range(num)]
    texts = [f"picture number {n} of a tiny pool" for n in range(num)]
    pq.write_table(pa.table({"URL": urls, "TEXT": texts, "punsafe": scores}), folder / "laion/part-00000.parquet")
    pd.DataFrame({"uid": uids, "score": scores}).to_csv(folder / "scores.csv", index=False)


def test_the_page_is_true(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = PAGE.read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    uids = write_pool(tmp_path / "pool", 2, 6)
    for name in ("00000", "00001"):
        Path(f"pool/shards/{name}_stats.json").write_text('{"count": 6, "successes": 5}')
    write_foreign(tmp_path, uids)
    (config,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    Path("config.yaml").write_text("executor: {use: inline}\n" + config)
    commands = [line for block in re.findall(r"```sh\n(.*?)```", page, re.DOTALL) for line in block.splitlines()]
    assert len(commands) > 8
    for command in commands:
        done = CliRunner().invoke(app, command.split()[1:])
        assert done.exit_code == 0, (command, done.output, done.exception)
    kept = np.load("run/subsets/clip_score.npy")
    assert len(kept) == 3  # 0.3 of 10 samples
    why = CliRunner().invoke(app, ["why", uids[0], "config.yaml"])
    assert why.exit_code == 0


def test_every_attachment_is_on_the_page() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for name in names(REGISTRIES["attachments"]):
        assert f"`{name}`" in page
    assert DatacompMetadata.tiny().path
