"""Look without touching: how far each stage is."""

from dataclasses import dataclass

from pipeline.config import RunConfig
from pipeline.runner import pending
from winnow.errors import UserError
from winnow.journal import Journal

__all__ = ["StageState", "stage_states"]


@dataclass(frozen=True)
class StageState:
    """How far one stage is."""

    stage: str
    planned: int | None
    """Units; None where it cannot be planned yet."""
    left: int
    note: str

    def numbers(self) -> tuple[str, str, str]:
        """Return units, done and to do as texts."""
        if self.planned is None:
            return "?", "?", "?"
        return str(self.planned), str(self.planned - self.left), str(self.left)


def stage_states(config: RunConfig, stages: list[str]) -> list[StageState]:
    """Plan every stage as far as the disk allows and count what is done."""
    states = []
    waiting_for = ""
    for name in stages:
        stage = config.stages[name]
        try:
            units = stage.plan()
        except UserError as error:
            note = f"waits for {waiting_for}" if waiting_for else str(error)
            states.append(StageState(name, None, 0, note))
            continue
        left = pending(units, Journal(stage.store))
        shown = ", ".join(unit.name for unit in left[:4]) + (", ..." if len(left) > 4 else "")
        if left and waiting_for:
            shown += f" (inputs may still change: {waiting_for} is not finished)"
        states.append(StageState(name, len(units), len(left), shown))
        waiting_for = waiting_for or (name if left else "")
    return states
