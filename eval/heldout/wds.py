"""The wds layout of CLIP_benchmark and DataComp: see `eval/wds.py` for its files."""

from collections.abc import Iterator

from eval.heldout.example import Decode, Example, HeldOut
from eval.wds import WdsFolder

__all__ = ["WdsSet"]


class WdsSet(HeldOut):
    """An evaluation folder of tars."""

    def __init__(self, path: str, decode: Decode) -> None:
        super().__init__(path, decode)
        self.folder = WdsFolder(path)

    def files(self) -> list[str]:
        """Return the texts and the tars."""
        return self.folder.files()

    def kind(self) -> str:
        """Return what dataset_type.txt says."""
        return self.folder.kind()

    def class_names(self) -> list[str]:
        """Return the lines of classnames.txt; a blank one is a class with an empty name."""
        return self.folder.lines("classnames.txt")

    def templates(self) -> list[str]:
        """Return the lines of zeroshot_classification_templates.txt that are not blank."""
        return [line for line in self.folder.lines("zeroshot_classification_templates.txt") if line]

    def examples(self) -> Iterator[Example]:
        """Yield the samples of the test split."""
        seen: set[str] = set()
        for shard, sample in self.folder.samples():
            assert sample.image is not None
            key = sample.key if sample.key not in seen else f"{shard.rpartition('/')[2]}/{sample.key}"
            seen.add(key)
            label = sample.members.get("cls")
            yield Example(
                key=key,
                where=f"{shard}: sample {sample.key}",
                image=sample.image,
                label=None if label is None else label.decode("ascii", "replace").strip(),
                captions=self._captions(sample.caption),
            )

    def _captions(self, text: str) -> tuple[str, ...]:
        """Return the captions of member txt.

        CLIP_benchmark writes a newline inside a caption as a literal backslash-n, and does not undo it when it reads;
        nor does it leave blank lines out.
        """
        if self.decode == "compat":
            return tuple(text.splitlines())
        return tuple(line.replace("\\n", "\n") for line in text.split("\n") if line.strip())
