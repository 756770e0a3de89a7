"""`winnow subset`: set algebra on subset files, DataComp's own among them, from the command line."""

import os
from functools import reduce
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from fsspec.implementations.local import LocalFileSystem
from numpy.typing import NDArray
from rich.table import Table

from filters.choosing.ranking import num_of
from filters.subset import intersect, minus, read_subset, sample, union, write_subset
from winnow.errors import UserError
from winnow.inputs import read_input
from winnow.patience import reach
from winnow.progress import console

__all__ = ["subset_app"]

subset_app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Set algebra on subset files: sorted uids, dtype u8,u8, as .npy or bare; a repeated uid means oversampling.",
)

Files = Annotated[list[str], typer.Argument(help="Subset files, local or fsspec URLs.")]
File = Annotated[str, typer.Argument(help="Subset file, local or fsspec URL.")]
Out = Annotated[str, typer.Option("--out", "-o", help="The .npy file to write; an existing one is replaced.")]


@subset_app.command("and")
def and_(files: Files, out: Out) -> None:
    """Write what is in every file; a uid as often as in the file that has it least often."""
    _write(out, intersect(*_read(files, least=2)))


@subset_app.command("or")
def or_(files: Files, out: Out) -> None:
    """Write what is in any file; a uid as often as in the file that has it most often."""
    _write(out, union(*_read(files, least=2)))


@subset_app.command("minus")
def minus_(files: Files, out: Out) -> None:
    """Write what is in the first file and in none of the others; a uid as often as the first has it."""
    _write(out, reduce(minus, _read(files, least=2)))


@subset_app.command("sample")
def sample_(
    file: File,
    out: Out,
    size: Annotated[int | None, typer.Option("--size", "-n", help="How many distinct uids.")] = None,
    fraction: Annotated[float | None, typer.Option("--fraction", "-f", help="Or what share of them, 0 to 1.")] = None,
    seed: Annotated[int, typer.Option("--seed", help="Another seed draws others.")] = 0,
) -> None:
    """Write distinct uids drawn by hash of uid and seed: the same whatever else the file holds, small within large."""
    (subset,) = _read([file])
    if (size is None) == (fraction is None):
        raise UserError("give either --size or --fraction")
    if fraction is not None:
        if not 0 <= fraction <= 1:
            raise UserError(f"--fraction is a share from 0 to 1, not {fraction:g}")
        size = num_of(fraction, len(np.unique(subset)))
    _write(out, sample(subset, size or 0, seed))


@subset_app.command("count")
def count(files: Files) -> None:
    """Print a line a file: how many samples, repeats counted, how many distinct uids, and its name."""
    for name, subset in zip(files, _read(files), strict=True):
        print(f"{len(subset)}\t{len(np.unique(subset))}\t{name}")


@subset_app.command("info")
def info(files: Files) -> None:
    """Show what is in each file, and how many distinct uids each shares with the first."""
    subsets = _read(files)
    table = Table("file", "samples", "distinct", "most repeats", box=None, header_style="bold")
    if len(files) > 1:
        table.add_column("shared with the first")
    for name, subset in zip(files, subsets, strict=True):
        distinct, repeats = np.unique(subset, return_counts=True)
        row = [name, f"{len(subset):,}", f"{len(distinct):,}", str(repeats.max(initial=0))]
        if len(files) > 1:
            row.append(f"{len(np.unique(intersect(subsets[0], subset))):,}")
        table.add_row(*row)
    console.print(table)


def _read(files: list[str], least: int = 1) -> list[NDArray[np.void]]:
    """Read subset files.

    Raises:
        UserError: too few files, or one that is no subset.
    """
    if len(files) < least:
        raise UserError(f"name at least {least} subset files, not {len(files)}")
    return [read_subset(read_input(name), name) for name in files]


def _write(out: str, subset: NDArray[np.void]) -> None:
    """Write a subset file, whole or not at all, and say how large it is."""
    if not out.endswith(".npy"):
        raise UserError(f"--out names a .npy file, not {out!r}")
    fs, path = reach(out)
    fs.makedirs(path.rpartition("/")[0], exist_ok=True)
    if isinstance(fs, LocalFileSystem):
        Path(f"{path}.part").write_bytes(write_subset(subset))
        os.replace(f"{path}.part", path)
    else:  # object stores show an object only when it is whole
        fs.pipe_file(path, write_subset(subset))
    print(f"{len(subset)}\t{len(np.unique(subset))}\t{out}")
