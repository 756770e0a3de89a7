"""`winnow init DATA`: look at what somebody has, and write a config to start from."""

import json
from pathlib import Path

from pipeline.config import RunConfig
from pipeline.pools.tabular import FORMATS, Found, column_kinds, find_files, known_columns
from pipeline.pools.textual import Layout
from winnow.errors import UserError
from winnow.patience import reach
from winnow.shards import index_shard

__all__ = ["write_config"]

SCHEMA_LINE = """# yaml-language-server: $schema=winnow.schema.json
# `winnow schema > winnow.schema.json` lets editors complete and check this file.
"""
LIST = """source: {{use: files, path: {data}}}
ingest: {{rows_per_file: 10000}}          # pairs in a metadata file, hence in a shard
download:
  image_size: 256
  resize_mode: keep_ratio_largest       # img2dataset's names
  resize_only_if_bigger: true
"""
REST = """
score:
  scorers:
    clip: {{model: ViT-B-32, pretrained: openai}}
    # language: {{}}                      # wants winnow[text]; with it the strategies `basic` and `english`
    # text_boxes: {{}}                    # T-MARS: find text, mask it, score again
    # masked_clip: {{clip: clip, boxes: text_boxes}}

select:
  strategies:
    no_filter: {{}}
    clip_score: {{fraction: 0.3}}         # DataComp's strongest single filter
    random: {{use: random_subset, same_size_as: clip_score}}   # the control that a filter has to beat

reshard: {{samples_per_shard: 10000}}

# train:                                # which filter makes the better model?
#   seeds: [0, 1, 2]
#   recipes:
#     clip:
#       system: {{use: clip, model: ViT-B-32}}
#       samples_seen: 12800000
#       batch_size: 256
#       lr: 5.0e-4
#       warmup: 500000
# eval: ...                             # docs/evaluation.md

report: {{}}
"""


def write_config(data: str, out: Path) -> list[str]:
    """Write a starter config for a list of URLs, an img2dataset folder or plain tars, and say what to do with it.

    Args:
        data: a file, folder or glob, local or any fsspec URL.
        out: the YAML file, which must not exist.

    Returns:
        lines for the console.

    Raises:
        UserError: the file exists, or nothing there is a list or a shard.
    """
    if out.exists():
        raise UserError(f"{str(out)!r} exists already; give another with --out")
    name, quoted = out.stem, json.dumps(data)
    run_dir = json.dumps(f"runs/{name}")
    tars = _find(data, (".tar",))
    if tars is not None:
        seen, lines = _tars(tars, data)
        body = f"pool: {quoted}\nrun_dir: {run_dir}\n"
    else:
        lists = _find(data, (*FORMATS, ".txt"))
        if lists is None:
            raise UserError(
                f"nothing to start from at {data!r}: neither shards (*.tar) nor lists ({', '.join(FORMATS)}, .txt)"
            )
        seen, lines = _lists(lists), []
        body = f"pool: {json.dumps(f'pools/{name}')}\nrun_dir: {run_dir}\n" + LIST.format(data=quoted)
    seen = ["".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in line) for line in seen]
    text = SCHEMA_LINE + "".join(f"# {line}\n" for line in seen) + f"title: {json.dumps(name)}\n" + body + REST.format()
    out.write_text(text, encoding="utf-8")
    try:
        RunConfig(out)
    except UserError:
        out.unlink()
        raise
    steps = [
        *lines,
        f"winnow plan {out}: hours, disk and traffic",
        f"winnow run {out} --dry-run: what would run",
    ]
    return [*seen, f"wrote {out}; next:", *(f"  {step}" for step in steps)]


def _find(data: str, suffixes: tuple[str, ...]) -> Found | None:
    """Return the files of some kinds, None where there are none."""
    try:
        return find_files(data, "DATA", suffixes)
    except UserError:
        return None


def _size(found: Found) -> str:
    """Return how many files there are, and how large they are."""
    size = sum(int(found.fs.size(path) or 0) for path in found.paths)
    return f"{len(found.paths):,} files of {size / 1e6:,.1f} MB"


def _lists(found: Found) -> list[str]:
    """Return what lies in lists of URLs.

    Raises:
        UserError: the first cannot be read, or has no column of URLs.
    """
    first = found.paths[0]
    columns = column_kinds(found, first, Layout())
    known = {theirs: ours for ours, theirs in known_columns(columns).items() if ours != "key"}
    told = ", ".join(f"{name} ({known.get(name, 'carried along')})" for name in columns)
    if "url" not in known.values():
        raise UserError(f"no column of URLs in {found.where(first)!r}, which has {', '.join(columns)}")
    return [f"lists of URLs: {_size(found)}; columns of the first: {told}"]


def _tars(found: Found, data: str) -> tuple[list[str], list[str]]:
    """Return what lies in shards, and the commands that they want first."""
    fs, _ = reach(data)
    tables = [path for path in found.paths if fs.exists(path.removesuffix(".tar") + ".parquet")]
    with found.open(found.paths[0]) as file:
        entries = index_shard(file, found.where(found.paths[0]))
    suffixes = {entry.suffix for entry in entries if entry.key == entries[0].key}
    what = f"shards: {_size(found)}, samples of {', '.join(sorted(suffixes)) or 'nothing'}"
    if len(tables) == len(found.paths):
        return [f"{what}; with img2dataset's tables"], []
    return [f"{what}; without tables"], [f"winnow index {data}: makes the tables that plain tars lack"]
