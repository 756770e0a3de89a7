"""Commands about a pool on disk: retry, verify, recovery, index, export."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from pipeline.commands.retry import prepare
from pipeline.config import RunConfig, pool_of
from pipeline.download.failures import CLASSES, check_classes
from pipeline.pools.export import export
from pipeline.pools.index import index
from pipeline.pools.recovery import compare, recover
from pipeline.pools.verify import Verification, verify
from pipeline.runner import run_stage
from winnow.errors import UserError
from winnow.progress import console
from winnow.shards import IMAGE_SUFFIXES
from winnow.storage import Store

__all__ = ["add_to"]

Pool = Annotated[str, typer.Argument(help="Folder or fsspec URL of a pool, or the config that names it.")]


def add_to(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command(name="retry")(retry_failed)
    app.command(name="verify")(verify_pool)
    app.command(name="recovery")(recovery)
    app.command(name="index")(index_pool)
    app.command(name="export")(export_pool)


def retry_failed(
    config: Annotated[str, typer.Argument(help="The config that downloaded the pool.")],
    status: Annotated[
        str, typer.Option("--status", help=f"Classes of failures: {', '.join(CLASSES)}, 4xx, 5xx, 429, ...")
    ],
    overrides: Annotated[list[str] | None, typer.Argument(help="Overrides such as download.timeout=30.")] = None,
) -> None:
    """Download what failed before, and only that, into new shards behind the last."""
    resolved = RunConfig(config, overrides or ())
    prepared = prepare(resolved, check_classes(status))
    if not prepared.shards:
        console.print("nothing to try again: no failed row is in these classes")
        return
    what = "the rest of an unfinished round" if prepared.resumed else f"{prepared.rows:,} rows"
    console.print(f"trying again: {what}, in shards {prepared.shards[0]} to {prepared.shards[-1]}", highlight=False)
    for message, number in prepared.classes.most_common():
        console.print(f"  {message} {number:,}", markup=False, highlight=False)
    if run_stage(resolved, "download").quarantined:
        raise typer.Exit(1)


def verify_pool(
    pool: Pool,
    quick: Annotated[bool, typer.Option("--quick", help="Neither hash files nor decode pictures.")] = False,
) -> None:
    """Reconcile journal, tars, tables, statistics, columns and hashes; one line a mismatch, exit code 1 if any."""
    done = Verification()
    for finding in verify(pool_of(pool), done, quick=quick):
        console.print(str(finding), markup=False, highlight=False, soft_wrap=True)
    seen = (
        f"{done.shards:,} shards, {done.samples:,} samples, {done.column_files:,} column files; {done.files:,} files "
        f"against the journal{' by size' if quick else ' by sha256'}"
    )
    if done.findings:
        console.print(f"[red]{done.findings:,} mismatches[/red] in {seen}")
        raise typer.Exit(1)
    console.print(f"[green]no mismatch[/green] in {seen}")


def recovery(
    pool: Pool,
    other: Annotated[
        str | None, typer.Option("--compare", help="Manifest (.npy) of another pool, or any subset file.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write the manifest: uids as a subset file (.npy).")] = None,
) -> None:
    """Tell which pairs of a pool were obtained, and the fingerprint that names them."""
    from filters.subset import read_subset, write_subset

    found = recover(pool_of(pool))
    table = Table(box=None, show_header=False, padding=(0, 2))
    table.add_row("fingerprint", found.fingerprint)
    table.add_row("asked", f"{found.asked:,}")
    table.add_row("obtained", f"{found.obtained:,} ({found.share:.1%})")
    for kind, number in found.statuses.items():
        table.add_row(f"  {kind}", f"{number:,}")
    if other is not None:
        folder, _, name = other.rpartition("/")
        rest = read_subset(Store(folder or ".").read(name), other)
        alike = compare(found.uids, rest)
        table.add_row(
            "shared", f"{alike['shared']:,} ({alike['share_here']:.1%} of this, {alike['share_there']:.1%} of it)"
        )
        table.add_row("only here", f"{alike['only_here']:,}")
        table.add_row("only there", f"{alike['only_there']:,}")
        table.add_row("Jaccard", f"{alike['jaccard']:.4f}")
    console.print(table)
    if out is not None:
        out.write_bytes(write_subset(found.uids))
        console.print(f"The manifest: {out}")


def index_pool(pool: Pool) -> None:
    """Make the tables of tars that came without them, from the pictures, json and txt members."""
    made = []
    for found in index(pool_of(pool)):
        console.print(f"{found.name}: {found.num_rows:,} rows", highlight=False)
        for note in found.notes:
            console.print(f"  {note}", markup=False, highlight=False, soft_wrap=True)
        made.append(found)
    if not made:
        console.print("nothing to do: every tar has its table")
    elif not any(found.num_pictures for found in made):
        console.print(
            f"[red]no sample has a picture[/red] ({', '.join(IMAGE_SUFFIXES)}): pictures cannot be scored or trained",
            highlight=False,
        )


def export_pool(
    pool: Pool,
    out: Annotated[str, typer.Option("--out", help="Folder or fsspec URL.")],
    kind: Annotated[str, typer.Option("--format", help="datacomp (parquet and npz) or scores (parquet).")] = "datacomp",
    column: Annotated[
        list[str] | None,
        typer.Option("--column", help="name=scorer.column, for each column wanted; l14_img=clip.image_embedding."),
    ] = None,
) -> None:
    """Write metadata and columns in DataComp's format, or all scores by uid, one file a shard."""
    mapping = {}
    for item in column or ():
        name, sign, source = item.partition("=")
        if not (name and sign and source):
            raise UserError(f"--column {item!r} must look like l14_img=clip.image_embedding")
        mapping[name] = source
    files = rows = 0
    for _, num_rows in export(pool_of(pool), Store(out), kind, mapping or None):
        files, rows = files + 1, rows + num_rows
    console.print(f"{rows:,} samples in {files:,} files: {out}", highlight=False)
