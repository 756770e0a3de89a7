"""Trainings that are killed in the middle."""

from typing import Any

import pytest

from pipeline.engine.perform import perform
from pipeline.stage import Stage
from training.system import System


def interrupt(stage: Stage, system: type[System], step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a stage's one unit until the training of a system begins a step."""
    (unit,) = stage.plan()
    phases, steps = system.phases, []

    def dies(self: System, batch: Any, progress: float) -> Any:
        steps.append(progress)
        if len(steps) == step:
            raise KeyboardInterrupt
        return phases(self, batch, progress)

    with monkeypatch.context() as patch:
        patch.setattr(system, "phases", dies)
        with pytest.raises(KeyboardInterrupt):
            perform(stage, unit)
