from pathlib import Path

import pytest
from squares import Squares

from pipeline.config import RunConfig
from winnow.component import build


@pytest.fixture
def squares(tmp_path: Path):  # type: ignore[no-untyped-def]
    """Return a function from (executor fields, stage fields) to a RunConfig whose one stage is Squares."""

    def make(executor: dict[str, object], **fields: object) -> RunConfig:
        path = tmp_path / "run.yaml"
        path.write_text(f"pool: {tmp_path / 'pool'}\nrun_dir: {tmp_path / 'run'}\n")
        (tmp_path / "run").mkdir(exist_ok=True)
        config = RunConfig(path)
        config.executor = build("pipeline.engine.executors", executor, "inline", "executor")
        config.stages["squares"] = Squares(pool=str(tmp_path / "pool"), run_dir=str(tmp_path / "run"), **fields)
        return config

    return make
