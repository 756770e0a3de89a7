"""The command `winnow plan`: hours, cores, GPUs, disk and traffic of every stage, for pools of several sizes."""

from typing import Annotated

import typer
from rich.table import Table

from pipeline.config import RunConfig
from pipeline.planning.forecast import Line, Plan, parse_rows, plan, reference
from pipeline.planning.measured import measure
from winnow.progress import console, duration

__all__ = ["plan_command"]


def plan_command(
    config: Annotated[str, typer.Argument(help="YAML file of the run to plan.")],
    overrides: Annotated[list[str] | None, typer.Argument(help="Overrides such as executor.workers=64.")] = None,
    rows: Annotated[
        str, typer.Option("--rows", help="Pairs of the pool, several with commas.")
    ] = "12.8M,128M,1.28B,12.8B",
    source: Annotated[
        list[str] | None,
        typer.Option("--from", help="Config of a finished small run to take rates from; repeat it for more. "),
    ] = None,
) -> None:
    """Estimate hours, cores, GPUs, disk and traffic of each stage for pools of some sizes, from small runs."""
    target = RunConfig(config, overrides or ())
    measured = measure([RunConfig(path) for path in source] if source else [target])
    for number in rows.split(","):
        _show(plan(target, measured, parse_rows(number)))
    known = reference()
    console.print(f"Reference rates: {known['machine']}, {known['date']}.")


def _show(found: Plan) -> None:
    """Print the table of one size."""
    table = Table(box=None, header_style="bold")
    for name in ("stage", "units", "samples", "time", "cores", "GPUs", "takes in", "leaves"):
        table.add_column(name, justify="left" if name == "stage" else "right", no_wrap=True)
    for line in found.lines:
        table.add_row(*_cells(line))
    table.add_row("together", "", "", duration(found.seconds), "", "", "", _bytes(found.disk))
    console.print(f"[bold]{found.rows:,} pairs[/bold]")
    console.print(table)
    for line in found.lines:
        console.print(f"  {line.stage}: {line.basis}")
    console.print("".join(f"  {text}\n" for text in found.assumptions))


def _cells(line: Line) -> list[str]:
    """Return a line of the table."""
    if line.seconds is None:
        return [line.stage, "", "", "?", "", "", "", ""]
    machines = [f"{line.cores:g}", f"{line.gpus:g}"]
    passed = [_bytes(line.traffic), _bytes(line.disk)]
    return [line.stage, f"{line.units:,}", f"{line.samples:,}", duration(line.seconds), *machines, *passed]


def _bytes(number: float | None) -> str:
    """Return bytes as people say them."""
    if number is None:
        return ""
    for unit in ("B", "KB", "MB", "GB", "TB"):
        if number < 1000:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:,.3g} PB"
