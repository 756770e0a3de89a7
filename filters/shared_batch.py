"""One decoded batch that several scorers work on: who may score which row, what was found, what went wrong."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from filters.scorer import Batch, Scorer
from winnow.columns import to_numpy
from winnow.errors import StorageError, UserError

__all__ = ["Decoded", "SharedBatch"]


@dataclass(frozen=True)
class Decoded:
    """One sample, its picture decoded."""

    uid: str
    caption: str
    meta: dict[str, Any]
    image: NDArray[np.uint8] | None
    """(H, W, 3) uint8 RGB; None where it was not asked for or cannot be decoded."""
    error: str = ""
    """Why the picture cannot be decoded."""


class SharedBatch:
    """The samples of a batch and the columns that its scorers have made so far.

    Args:
        samples: n consecutive samples of a shard.
        stored: column files of scorers that finished earlier, whole shard.
        start: row of the first sample in the shard.
    """

    def __init__(self, samples: Sequence[Decoded], stored: Mapping[str, pa.Table], start: int) -> None:
        self.samples = samples
        self.columns: dict[str, Any] = {}
        """"scorer.column" -> n values; rows with an error hold anything."""
        self.errors: dict[str, dict[int, str]] = {}
        """Scorer -> row of the batch -> why it has no values."""
        for key, table in stored.items():
            part = table.slice(start, len(samples))
            reasons = part["error"].to_pylist()
            self.errors[key] = {row: reason for row, reason in enumerate(reasons) if reason is not None}
            self.columns |= {f"{key}.{name}": to_numpy(part[name]) for name in part.column_names}

    def batch_for(self, key: str, scorer: Scorer) -> tuple[list[int], Batch]:
        """Return the rows that a scorer can score, and their batch; the others get their reason."""
        reasons = {row: self._obstacle(row, scorer) for row in range(len(self.samples))}
        self.errors[key] = {row: reason for row, reason in reasons.items() if reason}
        rows = [row for row, reason in reasons.items() if not reason]
        return rows, self._batch(scorer, rows)

    def score_singly(
        self, key: str, scorer: Scorer, rows: Sequence[int], error: Exception
    ) -> tuple[list[int], Mapping[str, Any]]:
        """Score row by row after a batch has failed, and record which rows fail and why.

        Returns:
            the rows that have values, and their columns.

        Raises:
            Exception: `error` itself, where no row of several can be scored: the scorer is broken, not the samples.
        """
        pieces: list[tuple[int, Mapping[str, Any]]] = []
        for row in rows:
            try:
                pieces.append((row, scorer.score(self._batch(scorer, [row]))))
            except (UserError, StorageError):
                raise
            except Exception as reason:  # recorded in the row's `error` column
                self.errors[key][row] = f"{type(reason).__name__}: {reason}"
        if not pieces and len(rows) != 1:
            raise error
        if not pieces:
            return [], scorer.score(self._batch(scorer, []))
        return [row for row, _ in pieces], {name: _joined([c[name] for _, c in pieces]) for name in pieces[0][1]}

    def publish(self, key: str, rows: Sequence[int], columns: Mapping[str, Any]) -> None:
        """Let later scorers of the batch read a scorer's columns.

        Args:
            key: the scorer.
            rows: m rows of the batch.
            columns: column name -> m values.
        """
        for name, values in columns.items():
            if isinstance(values, np.ndarray):
                out: Any = np.zeros((len(self.samples), *values.shape[1:]), values.dtype)
            else:
                out = np.full(len(self.samples), None, dtype=object)
            for row, value in zip(rows, values, strict=True):
                out[row] = value
            self.columns[f"{key}.{name}"] = out

    def _obstacle(self, row: int, scorer: Scorer) -> str:
        """Return why a scorer cannot score a row, "" if it can."""
        if scorer.wants_images and self.samples[row].image is None:
            return self.samples[row].error
        for need in scorer.needs():
            if reason := self.errors[need].get(row):
                return f"no {need}: {reason}"
        return ""

    def _batch(self, scorer: Scorer, rows: Sequence[int]) -> Batch:
        """Return the batch of some rows, with the columns and the pictures that the scorer reads."""
        samples = [self.samples[row] for row in rows]
        prefixes = tuple(f"{need}." for need in scorer.needs())
        return Batch(
            uids=[sample.uid for sample in samples],
            captions=[sample.caption for sample in samples],
            meta=[sample.meta for sample in samples],
            images=[s.image for s in samples if s.image is not None] if scorer.wants_images else [],
            columns={
                name: values[list(rows)] for name, values in self.columns.items() if name.startswith(prefixes or "\0")
            },
        )


def _joined(pieces: list[Any]) -> Any:
    """Join the values of one column."""
    if isinstance(pieces[0], np.ndarray):
        return np.concatenate(pieces)
    return [value for piece in pieces for value in piece]
