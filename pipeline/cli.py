"""The command line: `winnow run CONFIG`, one command per stage, and commands to look."""

import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from pipeline.commands.init import write_config
from pipeline.commands.plan import plan_command
from pipeline.commands.pool import add_to
from pipeline.commands.preflight import preflight
from pipeline.commands.schema import config_schema
from pipeline.commands.status import stage_states
from pipeline.commands.subset import subset_app
from pipeline.commands.watch import follow as watch
from pipeline.commands.why import explain
from pipeline.config import STAGES, RunConfig
from pipeline.runner import Summary, run_stage
from winnow.errors import StorageError, UserError
from winnow.loggers import without_wandb
from winnow.progress import console
from winnow.registry import names
from winnow.shipped import bring

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Separate the wheat from the chaff of web-scale image-text data, and prove it.",
)
app.add_typer(subset_app, name="subset")

Config = Annotated[str, typer.Argument(help="YAML file, for example configs/demo.yaml.")]
Overrides = Annotated[list[str] | None, typer.Argument(help="Overrides such as train.seeds=[0,1].")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show the resolved plan: what would run, what is done.")]

TakeOver = Annotated[
    bool, typer.Option("--take-over", help="Write to an object store even if another command may still do so.")
]

REGISTRIES = {
    "stages": "pipeline.stages",
    "sources": "pipeline.sources",
    "picturesets": "pipeline.picturesets",
    "attachments": "pipeline.attachments",
    "scorers": "filters.scorers",
    "pool_scorers": "filters.pool_scorers",
    "strategies": "filters.strategies",
    "systems": "training.systems",
    "samplers": "training.samplers",
    "tasks": "eval.tasks",
    "metrics": "eval.metrics",
    "executors": "pipeline.engine.executors",
}


def main() -> None:
    """Run the command line; a user's mistake is one line and exit code 2, an unfinished run exit code 1."""
    # Ray and uv must not re-create the environment in workers, and albumentations must not call home at import.
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    without_wandb()
    try:
        app()
    except UserError as error:
        console.print(f"[red]error:[/red] {error}", markup=True)
        sys.exit(2)
    except StorageError as error:
        console.print(f"[red]error:[/red] {escape(str(error))}", markup=True)
        sys.exit(1 if error.transient else 2)


@app.command()
def run(config: Config, overrides: Overrides = None, dry_run: DryRun = False, take_over: TakeOver = False) -> None:
    """Run the whole loop, every stage that the config has, and skip what is done."""
    _run(RunConfig(config, overrides or ()), STAGES, dry_run, take_over)


@app.command()
def demo(overrides: Overrides = None, dry_run: DryRun = False) -> None:
    """Run the whole loop on a pool made of packages, into runs/demo; its configs are written to configs/."""
    for path in bring(Path()):
        console.print(f"wrote {path}", markup=False)
    _run(RunConfig("configs/demo.yaml", overrides or ()), STAGES, dry_run, take_over=False)


@app.command()
def init(
    data: Annotated[str, typer.Argument(help="A list of URLs, an img2dataset folder or tars: a file, folder or glob.")],
    out: Annotated[Path, typer.Option(help="The config to write.")] = Path("winnow.yaml"),
) -> None:
    """Look at what is given and write a commented config to start from."""
    for line in write_config(data, out):
        console.print(line, markup=False, highlight=False)


@app.command()
def schema() -> None:
    """Print the JSON schema of a config, by which editors complete and check it."""
    print(json.dumps(config_schema(), indent=1, ensure_ascii=False, default=str))


def _stage_command(name: str) -> None:
    """Add the command that runs one stage."""

    def command(
        config: Config, overrides: Overrides = None, dry_run: DryRun = False, take_over: TakeOver = False
    ) -> None:
        _run(RunConfig(config, overrides or ()), (name,), dry_run, take_over)

    command.__doc__ = f"Run the stage `{name}` alone."
    app.command(name)(command)


for _name in STAGES:
    if _name != "bench":  # a group of its own
        _stage_command(_name)

bench = typer.Typer(no_args_is_help=True, help="Compare strategies, with intervals.")
app.add_typer(bench, name="bench")


@bench.command()
def filters(
    config: Config,
    overrides: Overrides = None,
    only_truth: Annotated[
        bool, typer.Option("--only-truth", help="Train nothing: tell what was kept of which category.")
    ] = False,
    dry_run: DryRun = False,
    take_over: TakeOver = False,
) -> None:
    """Run the loop with a random control for every strategy and tabulate what they keep and what models learn."""
    changes = [*(overrides or ()), *(["bench.only_truth=true"] if only_truth else [])]
    resolved = RunConfig(config, changes, defaults={"bench": {}})
    skipped = ("reshard", "train", "eval", "report") if only_truth else ("report",)
    _run(resolved, tuple(name for name in STAGES if name not in skipped), dry_run, take_over)
    if not dry_run:
        console.print(
            f"The tables: {resolved.run_store.where('bench/filters.md')}, figures beside them in filters.html"
        )


def _run(config: RunConfig, stages: tuple[str, ...], dry_run: bool, take_over: bool) -> None:
    """Run stages in order; stop at the first that could not finish a unit."""
    chosen = [name for name in stages if name in config.stages]
    if not chosen:
        raise UserError(f"the config has no section `{stages[0]}`; it has: {', '.join(config.stages)}")
    preflight(config, chosen)
    if dry_run:
        _print_states(config, chosen)
        return
    config.save()
    with config.executor.keep_workers():
        for name in chosen:
            summary = run_stage(config, name, take_over)
            if summary.quarantined or summary.stopped:
                _fail(config, summary)


def _fail(config: RunConfig, summary: Summary) -> None:
    """Say where the errors lie and exit with 1: nothing later can be trusted."""
    where = config.stages[summary.stage].store.url
    left = summary.planned - summary.skipped - summary.done
    stopped = f"It was given up: {summary.stopped}. " if summary.stopped else ""
    console.print(
        f"[red]{summary.stage} could not finish {left} of {summary.planned} units.[/red] {stopped}"
        f"Their errors lie in {where}/quarantine/. Mend the cause and repeat the command: what is done stays done."
    )
    raise typer.Exit(1)


def _print_states(config: RunConfig, stages: list[str]) -> None:
    table = Table("stage", "units", "done", "to do", "what would run", box=None, header_style="bold")
    for state in stage_states(config, stages):
        table.add_row(state.stage, *state.numbers(), state.note)
    console.print(table)


@app.command()
def status(
    config: Config,
    overrides: Overrides = None,
    follow: Annotated[
        bool, typer.Option("--follow", help="Watch a run, from any machine that sees its files: rates, estimated end.")
    ] = False,
) -> None:
    """Show how far each stage is, from the files alone."""
    resolved = RunConfig(config, overrides or ())
    if follow:
        watch(resolved)
        return
    _print_states(resolved, list(resolved.stages))


@app.command()
def why(uid: Annotated[str, typer.Argument(help="32 hex characters, or the start of them.")], config: Config) -> None:
    """Tell everything known about one sample: its columns, each strategy's verdict and reason, where it lies."""
    for title, rows in explain(RunConfig(config), uid):
        console.print(f"[bold]{title}[/bold]")
        table = Table(box=None, show_header=False, padding=(0, 2))
        for row in rows:
            table.add_row(*row)
        console.print(table)


add_to(app)
app.command(name="plan")(plan_command)


@app.command(name="list")
def list_entries(
    kind: Annotated[str | None, typer.Argument(help=f"One of: {', '.join(REGISTRIES)}.")] = None,
) -> None:
    """List what a config can name."""
    if kind is not None and kind not in REGISTRIES:
        raise UserError(f"nothing to list under {kind!r}; accepted: {', '.join(REGISTRIES)}")
    for name, package in REGISTRIES.items():
        if kind in (None, name):
            console.print(f"[bold]{name}[/bold]: {', '.join(names(package))}")
