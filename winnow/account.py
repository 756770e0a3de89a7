"""What a reader read, kept and left out: so that nothing vanishes without a word."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Account", "Reason"]

NOTES = 20
"""Notes that an account keeps; the number of further ones stands behind them."""


@dataclass
class Reason:
    """Why some were left out."""

    count: int
    example: str
    """The first of them: a file and a line, a row, a member of a tar."""


@dataclass
class Account:
    """The count of one reader, or of several merged; every row or sample it read was kept or has a reason."""

    unit: str = "rows"
    """What is counted: "rows", "samples", "members"."""
    read: int = 0
    left_out: dict[str, Reason] = field(default_factory=dict)
    """Reason -> count and example."""
    notes: dict[str, None] = field(default_factory=dict)
    """What was done to columns or values (renamed, retyped, left out), each once, in order."""
    more_notes: int = 0

    @property
    def kept(self) -> int:
        """How many were kept."""
        return self.read - sum(reason.count for reason in self.left_out.values())

    def leave_out(self, reason: str, example: str, count: int = 1) -> None:
        """Count some that were read and not kept; the first example of a reason stays."""
        if count:
            self.left_out.setdefault(reason, Reason(0, example)).count += count

    def skip(self, reason: str, example: str) -> None:
        """Count one that was read and could not be kept."""
        self.read += 1
        self.leave_out(reason, example)

    def note(self, text: str) -> None:
        """Remember, once, what was done to a column or a value."""
        if text in self.notes:
            return
        if len(self.notes) < NOTES:
            self.notes[text] = None
        else:
            self.more_notes += 1

    def add(self, other: "Account") -> None:
        """Add another reader's account."""
        self.read += other.read
        for name, reason in other.left_out.items():
            self.leave_out(name, reason.example, reason.count)
        for text in other.notes:
            self.note(text)
        self.more_notes += other.more_notes

    def lines(self) -> list[str]:
        """Return the line for the console, and one for each note."""
        parts = [f"{self.unit} read {self.read:,}, kept {self.kept:,}"]
        parts += [
            f"{name} {reason.count:,} (first: {reason.example})"
            for name, reason in sorted(self.left_out.items(), key=lambda item: -item[1].count)
        ]
        more = [f"and {self.more_notes:,} more of the kind"] if self.more_notes else []
        return [" · ".join(parts), *self.notes, *more]

    def data(self) -> dict[str, Any]:
        """Return it as JSON-like data, for journal and report."""
        return {
            "unit": self.unit,
            "read": self.read,
            "kept": self.kept,
            "left_out": {
                name: {"count": reason.count, "example": reason.example} for name, reason in self.left_out.items()
            },
            "notes": [*self.notes],
            "more_notes": self.more_notes,
        }

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> "Account":
        """Read what `data` wrote; `kept` follows from the rest."""
        return cls(
            unit=str(data["unit"]),
            read=int(data["read"]),
            left_out={
                str(name): Reason(int(reason["count"]), str(reason["example"]))
                for name, reason in data["left_out"].items()
            },
            notes=dict.fromkeys(map(str, data["notes"])),
            more_notes=int(data["more_notes"]),
        )
