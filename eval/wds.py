"""Read an evaluation folder in the wds layout of CLIP_benchmark.

classnames.txt                             line i names class i; blank lines count
zeroshot_classification_templates.txt      one a line, {c} stands for the class name
dataset_type.txt                           "retrieval", or absent for classification
test/nshards.txt                           K
test/0.tar ... test/<K-1>.tar              a picture and cls (label) or txt (captions, one a line)
"""

import logging
from collections.abc import Iterator

from winnow.errors import UserError
from winnow.shards import Sample, read_shard, reasons
from winnow.storage import Store

__all__ = ["WdsFolder"]

_log = logging.getLogger(__name__)


class WdsFolder:
    """One evaluation set."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.store = Store(path)

    def shards(self) -> list[str]:
        """Return the names of the tars of the test split.

        Raises:
            UserError: no nshards.txt, or a tar that it promises is missing.
        """
        count = self.lines("test/nshards.txt")[0].strip()
        if not count.isdigit():
            raise UserError(f"{self.path}/test/nshards.txt must hold one integer, not {count!r}")
        names = [f"test/{number}.tar" for number in range(int(count))]
        if missing := [name for name in names if not self.store.exists(name)]:
            raise UserError(f"{self.path}: test/nshards.txt promises {count} shards, but {missing[0]} is missing")
        return names

    def files(self) -> list[str]:
        """Return the full path of every file of the folder that a task reads."""
        texts = ("classnames.txt", "zeroshot_classification_templates.txt", "dataset_type.txt")
        present = [name for name in texts if self.store.exists(name)]
        return [f"{self.path}/{name}" for name in ["test/nshards.txt", *self.shards(), *present]]

    def kind(self) -> str:
        """Return "classification", "retrieval" or what dataset_type.txt says."""
        return self.lines("dataset_type.txt")[0].strip() if self.store.exists("dataset_type.txt") else "classification"

    def lines(self, name: str) -> list[str]:
        """Return the stripped lines of a text file; blank ones stay, since line i speaks of class i.

        Raises:
            UserError: there is no such file.
        """
        if not self.store.exists(name):
            raise UserError(
                f"no {name} in the evaluation folder {self.path!r}: a wds folder of CLIP_benchmark holds "
                "classnames.txt, zeroshot_classification_templates.txt, test/nshards.txt and test/0.tar, ..."
            )
        text = self.store.read(name).decode("utf-8").removesuffix("\n")
        return [line.strip() for line in text.split("\n")]

    def samples(self) -> Iterator[tuple[str, Sample]]:
        """Yield the samples of the test split in order, each with the path of its shard; members that belong to
        none are logged.

        Raises:
            UserError: a shard is damaged or holds a sample without a picture.
        """
        for name in self.shards():
            left_out: list[tuple[str, str]] = []
            with self.store.open(name) as file:
                for sample in read_shard(file, f"{self.path}/{name}", left_out=left_out):
                    if sample.image is None:
                        raise UserError(f"{self.path}/{name}: sample {sample.key!r} has no picture")
                    yield f"{self.path}/{name}", sample
            for line in reasons(left_out):
                _log.warning("%s/%s: %s", self.path, name, line)
