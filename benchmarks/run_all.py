"""Run every benchmark and write what they print to docs/benchmarks.md, with machine, versions and date.

    python -m benchmarks.run_all [--quick] [--only reshard,shards] [--out docs/benchmarks.md]

Each is a process of its own, one after the other. One that fails, or prints no result, is listed with its error, and
the command ends with 1 after all have run. Those that want pictures get photographs where `../shared/data` has them.
`soak` compares nothing and `text_cascade` wants a scored pool: they are run by hand.
"""

import argparse
import datetime
import importlib.metadata
import os
import platform
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Outcome", "main", "page", "perform"]

ROOT = Path(__file__).parents[1]
QUICK = {
    "filter_columns": "--rows 200000",
    "plan_error": "--samples 80",
    "reshard": "--samples 4000 --pairs 3",
    "score_clip": "--num-images 8 --repeats 3",
    "shards": "--samples 500",
}
"""Arguments for a run of about a minute each, where the defaults take longer."""
RUNS = {"download": ("", "--settings datacomp", "--profile", "--profile --settings datacomp")}
"""Arguments of the several runs of a benchmark; the others run once, with their defaults."""
PHOTOGRAPHS = ROOT.parent / "shared/data/imagenet_samples_256px.parquet"
WANT_PICTURES = ("score_clip", "shards", "text_detection")
BY_HAND = ("drawings", "run_all", "download_server", "soak", "text_cascade")
PACKAGES = "torch open_clip_torch webdataset img2dataset easyocr ray pyarrow numpy faiss-cpu scikit-learn pandas"
RESULT = re.compile(r"\d(?:\.\d+)?x\b|\bratio\b|pictures/s|img/s|\bms\b|error", re.IGNORECASE)
"""What a line of results has: a ratio, a rate or a time."""


@dataclass(frozen=True)
class Outcome:
    """What one benchmark gave."""

    command: str
    output: str
    """Its lines of results, or the last lines of its error."""
    seconds: float
    failed: bool


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmarks and write the page; return 1 if any failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="smaller runs")
    parser.add_argument("--only", help="names with commas; default: all")
    parser.add_argument("--out", type=Path, default=ROOT / "docs/benchmarks.md")
    arguments = parser.parse_args(argv)
    names = sorted(path.stem for path in (ROOT / "benchmarks").glob("*.py") if path.stem not in BY_HAND)
    if arguments.only:
        chosen = arguments.only.split(",")
        if unknown := set(chosen) - set(names):
            parser.error(f"no benchmark {min(unknown)!r}; there are: {', '.join(names)}")
        names = chosen
    outcomes = []
    for name in names:
        for options in (QUICK.get(name, ""),) if arguments.quick else RUNS.get(name, ("",)):
            pictures = ["--images", os.path.relpath(PHOTOGRAPHS, ROOT)] if name in WANT_PICTURES else []
            given = [*shlex.split(options), *(pictures if PHOTOGRAPHS.exists() else [])]
            outcomes.append(perform([sys.executable, "-m", f"benchmarks.{name}", *given]))
            arguments.out.write_text(page(outcomes), encoding="utf-8")  # what is done is kept, whatever comes next
    return int(any(outcome.failed for outcome in outcomes))


def perform(command: Sequence[str], timeout: float = 3600) -> Outcome:
    """Run a command in the repository, show what it prints, and return its results.

    Args:
        command: program and arguments.
        timeout: seconds after which it is ended and counts as failed.
    """
    shown = shlex.join(["python", *command[1:]] if command[0] == sys.executable else command)
    print(f"== {shown}", flush=True)
    start = time.monotonic()
    try:
        done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, timeout=timeout)
        code, out, err = done.returncode, done.stdout, done.stderr
    except subprocess.TimeoutExpired as error:
        out = error.stdout.decode() if isinstance(error.stdout, bytes) else error.stdout or ""
        code, err = -1, f"not finished after {timeout:.0f} s"
    seconds = time.monotonic() - start
    print(out, flush=True)
    if code == 0 and RESULT.search(out):
        return Outcome(shown, out.strip(), seconds, failed=False)
    last = "\n".join((err.strip() or out.strip() or "it printed nothing").splitlines()[-6:])
    why = "ended without a result" if code == 0 else f"failed with code {code}"
    print(f"{why}: {last}", file=sys.stderr, flush=True)
    return Outcome(shown, f"{why}:\n{last}", seconds, failed=True)


def page(outcomes: Sequence[Outcome]) -> str:
    """Return the page."""
    now = datetime.datetime.now(datetime.UTC)
    lines = [
        "# Benchmarks",
        "",
        "Written by `python -m benchmarks.run_all`. Each block is what one command prints; a ratio says how many",
        "times as fast as the peer Winnow is on the same data, as the median of alternating runs.",
        "",
        f"- Date: {now:%Y-%m-%d %H:%M} UTC",
        f"- Machine: {machine()}",
        f"- Load when this was written: {os.getloadavg()[0]:.1f}",
        f"- Versions: Python {platform.python_version()}, {versions()}",
        "",
    ]
    if failed := [outcome for outcome in outcomes if outcome.failed]:
        lines += [
            f"**{len(failed)} of {len(outcomes)} failed:** {', '.join(f'`{each.command}`' for each in failed)}",
            "",
        ]
    for outcome in outcomes:
        title = outcome.command + (" (failed)" if outcome.failed else "")
        lines += [f"## `{title}`", "", "```", outcome.output, "```", "", f"{outcome.seconds:.0f} s.", ""]
    return "\n".join(lines)


def machine() -> str:
    """Return processor, cores, memory and graphics cards."""
    facts = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    model = re.search(r"^model name\s*:\s*(.+)$", facts, re.MULTILINE)
    flags = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_tile") if re.search(rf"\b{flag}\b", facts)]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cores = len(os.sched_getaffinity(0))
    name = model[1].strip() if model else platform.processor()
    return f"{name}, {cores} cores, {memory:.0f} GiB, {' '.join(flags) or 'no vector extensions known'}, {cards()}"


def cards() -> str:
    """Return the graphics cards that torch sees."""
    import torch

    found = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return ", ".join(found) or "no GPU"


def versions() -> str:
    """Return the versions of the packages that matter."""
    found = []
    for name in PACKAGES.split():
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            found.append(f"{name} not installed")
    return ", ".join(found)


if __name__ == "__main__":
    sys.exit(main())
