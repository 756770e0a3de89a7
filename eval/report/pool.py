"""Read what a report says about a pool and its subsets: counts, scores, verdicts, pictures."""

import base64
import io
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from eval.report.data import Gallery, Histogram, Pair, Stage, StrategyRow, TruthRow
from eval.report.rows import Words, rows_of
from eval.statistics import wilson
from winnow.errors import UserError
from winnow.filenames import name_of
from winnow.images import ImageError, decode_image
from winnow.journal import Journal
from winnow.pool import PoolShard, pool_shards, read_table, uids_of
from winnow.shards import Sample, locate_samples
from winnow.storage import Store
from winnow.uid import UID, from_hex, to_hex
from winnow.verdicts import read_verdicts

__all__ = ["Mask", "PoolFacts", "galleries", "histograms", "jaccard", "read_pool", "stages", "strategies", "truth"]

Mask = Callable[[NDArray[np.uint8], list[NDArray[np.float32]]], NDArray[np.uint8]]
UNREADABLE = (UserError, OSError, pa.ArrowException, KeyError, ValueError)
_CUT = re.compile(r"^(\S+) below (-?[\d.]+(?:e-?\d+)?)")
THUMBNAIL = 176


@dataclass
class PoolFacts:
    """The downloaded samples of a pool as row-aligned arrays, n rows, and what happened to the others."""

    uids: NDArray[np.void] = field(default_factory=lambda: np.zeros(0, UID))
    captions: pa.ChunkedArray = field(default_factory=lambda: pa.chunked_array([], pa.large_string()))
    tars: list[str] = field(default_factory=list)
    tar: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    """Index into `tars`."""
    position: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    """Of the sample in its tar."""
    rows: dict[str, range] = field(default_factory=dict)
    """Shard -> the rows that are its samples."""
    tried: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    """Failures by kind."""
    columns: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    """Numeric columns by "scorer.column", NaN where missing."""
    boxes: dict[str, list[Any]] = field(default_factory=dict)
    """Columns that hold outlines, by "scorer.boxes"."""
    count: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    """Strategy -> copies of each sample."""
    reason: dict[str, Words] = field(default_factory=dict)
    """Strategy -> why each sample was dropped, "" where it was not."""
    category: Words | None = None
    notes: list[str] = field(default_factory=list)


def read_pool(pool: Store, run: Store) -> PoolFacts:
    """Read tables, columns, subsets and truth; what cannot be read is noted and left out."""
    facts = PoolFacts()
    try:
        shards = pool_shards(pool)
    except UNREADABLE as error:
        facts.notes.append(str(error))
        return facts
    _read_shards(pool, shards, facts)
    for scorer in _folders(pool, "columns"):
        for shard in shards:
            _read_columns(pool, scorer, shard, facts)
    for name in run.list("subsets", ".parquet"):
        strategy = name_of(name.rpartition("/")[2].removesuffix(".parquet"))
        try:
            _read_verdicts(run, strategy, facts)
        except UNREADABLE as error:
            facts.notes.append(f"{name}: {error}")
    if pool.exists("truth.parquet"):
        table = pq.read_table(io.BytesIO(pool.read("truth.parquet")), columns=["uid", "category"])
        facts.category = Words.of(
            table["category"], rows_of(facts.uids, from_hex(table["uid"])), len(facts.uids), "unknown"
        )
    return facts


def stages(pool: Store, facts: PoolFacts) -> list[Stage]:
    """Return the funnel up to the scored pool."""
    out = []
    journal = Journal(pool)
    if "ingest/metadata" in journal.rows:
        counts = dict(journal.rows["ingest/metadata"].counts)
        samples = counts.pop("samples", 0)
        lost = {kind: count for kind, count in counts.items() if count}
        out.append(Stage("rows of the source", samples + sum(lost.values()), lost))
        out.append(Stage("unique pairs", samples))
    if facts.tried:
        out.append(Stage("tried to download", facts.tried, dict(facts.statuses.most_common())))
        out.append(Stage("downloaded", len(facts.uids)))
    return out


def strategies(facts: PoolFacts) -> list[StrategyRow]:
    """Return the subsets, no_filter first, then by name with controls last."""
    rows = []
    for name, count in facts.count.items():
        reasons = facts.reason[name].tally(count == 0)
        rows.append(
            StrategyRow(
                name=name,
                kept=int((count > 0).sum()),
                copies=int(count.sum()),
                total=len(count),
                reasons=dict(sorted(reasons.items(), key=lambda item: (-item[1], item[0]))),
                is_random=bool(reasons) and set(reasons) == {"not drawn"},
            )
        )
    return sorted(rows, key=lambda row: (row.name != "no_filter", row.is_random, row.name))


def jaccard(facts: PoolFacts, names: Sequence[str]) -> NDArray[np.float64]:
    """Return |A and B| / |A or B| of every two subsets; two empty ones agree."""
    keep = np.array([facts.count[name] > 0 for name in names], dtype=np.float64)
    both = keep @ keep.T
    sizes = keep.sum(axis=1)
    either = sizes[:, None] + sizes[None, :] - both
    return np.where(either > 0, both / np.maximum(either, 1), 1.0)


def cuts(facts: PoolFacts, strategy: str) -> dict[str, float]:
    """Return the thresholds of a strategy by column, most used first, as its reasons state them."""
    found: dict[str, float] = {}
    for words, _ in facts.reason[strategy].tally().most_common():
        match = _CUT.match(words)
        if match and match[1] in facts.columns:
            found.setdefault(match[1], float(match[2]))
    return found


def histograms(facts: PoolFacts) -> list[Histogram]:
    """Return the distributions of all similarities and of whatever a strategy cuts."""
    lines = {name: cuts(facts, name) for name in facts.count}
    wanted = {column for found in lines.values() for column in found}
    wanted |= {column for column in facts.columns if column.endswith(".similarity")}
    out = []
    for column in sorted(wanted):
        values = facts.columns[column]
        known = ~np.isnan(values)
        if not known.any():
            continue
        groups = {"all": values[known]}
        if facts.category is not None:
            names = sorted(facts.category.tally(known))
            groups = {name: values[known & facts.category.equal(name)] for name in names}
        marks = {name: found[column] for name, found in sorted(lines.items()) if column in found}
        out.append(Histogram(column, groups, marks, int((~known).sum())))
    return out


def truth(facts: PoolFacts, good: Sequence[str]) -> list[TruthRow]:
    """Return precision, recall and kept share per category of every strategy."""
    if facts.category is None:
        return []
    is_good = np.isin(facts.category.words, good)[facts.category.code]
    rows = []
    for strategy in strategies(facts):
        keep = facts.count[strategy.name] > 0
        kept = {}
        for category in sorted(facts.category.tally()):
            mine = facts.category.equal(category)
            k, n = int((keep & mine).sum()), int(mine.sum())
            kept[category] = (k, n, wilson(k, n))
        hits = int((keep & is_good).sum())
        precision, recall = wilson(hits, int(keep.sum())), wilson(hits, int(is_good.sum()))
        rows.append(TruthRow(strategy.name, precision, recall, kept))
    return rows


def galleries(pool: Store, facts: PoolFacts, num_pairs: int, mask: Mask | None) -> list[Gallery]:
    """Return pairs to look at: what masking changed most, then kept, dropped and borderline ones of each filter.

    Which pairs are shown is decided by their uid, a hash, and by their scores: nobody picked them.
    """
    by_uid = np.lexsort((facts.uids["f1"], facts.uids["f0"]))
    chosen: list[tuple[str, str, list[int]]] = []
    changed = _masking_change(facts)
    if changed is not None:
        order = [int(row) for row in np.argsort(-np.nan_to_num(changed), kind="stable") if changed[row] > 0]
        chosen.append(("", "Most of the similarity was text: largest fall when it is masked", order[:num_pairs]))
    for strategy in strategies(facts):
        if strategy.is_random or strategy.kept in (0, strategy.total):
            continue
        keep = facts.count[strategy.name] > 0
        chosen.append((strategy.name, "kept", by_uid[keep[by_uid]][:num_pairs].tolist()))
        chosen.append((strategy.name, "dropped", by_uid[~keep[by_uid]][:num_pairs].tolist()))
        for column, cut in list(cuts(facts, strategy.name).items())[:1]:
            gap = np.abs(facts.columns[column] - cut)
            near = [int(row) for row in np.argsort(gap, kind="stable") if not np.isnan(gap[row])][:num_pairs]
            near.sort(key=lambda row: -facts.columns[column][row])
            chosen.append((strategy.name, f"borderline: nearest to {column} = {cut:.4g}", near))
    pictures = _read_samples(pool, facts, {row for _, _, rows in chosen for row in rows})
    pairs = {row: _pair(facts, row, sample, mask) for row, sample in pictures.items()}
    # a pair's reason belongs to the strategy under which it is shown
    out = []
    for name, title, rows in chosen:
        shown = [_judged(pairs[row], facts, name, row) for row in rows if row in pairs]
        with_masked = not name or any(column.startswith("masked_clip.") for column in cuts(facts, name))
        if shown:
            out.append(Gallery(name, title, shown, with_masked))
    return out


def _read_shards(pool: Store, shards: Iterable[PoolShard], facts: PoolFacts) -> None:
    """Read the rows of all shards."""
    start = 0
    uids, captions, tars, positions = [facts.uids], list[pa.Array](), [facts.tar], [facts.position]
    for shard in shards:
        try:
            table = read_table(pool, shard)
            # a later shard counts what was tried again
            table = table.filter(pc.fill_null(pc.not_equal(table["status"], "retried"), True))
            success = pc.fill_null(pc.equal(table["status"], "success"), False)
            failed = table.filter(pc.invert(success))
            messages = failed["error_message" if "error_message" in table.column_names else "status"]
            mine = uids_of(table)[success.to_numpy()]
        except UNREADABLE as error:
            facts.notes.append(f"{shard.table}: {error}")
            continue
        facts.tried += table.num_rows
        for status, message in zip(failed["status"].to_pylist(), messages.to_pylist(), strict=True):
            facts.statuses[_kind(str(status), str(message or ""))] += 1
        texts = table["caption"] if "caption" in table.column_names else pa.chunked_array([pa.nulls(table.num_rows)])
        captions += _words(texts.filter(success)).fill_null("").chunks
        facts.rows[shard.name] = range(start, start + len(mine))
        start += len(mine)
        uids.append(mine)
        tars.append(np.full(len(mine), len(facts.tars), np.int32))
        positions.append(np.arange(len(mine), dtype=np.int32))
        facts.tars.append(shard.tar)
    facts.uids, facts.tar, facts.position = np.concatenate(uids), np.concatenate(tars), np.concatenate(positions)
    facts.captions = pa.chunked_array(captions, pa.large_string())


def _words(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column of any type as text."""
    try:
        return column.cast(pa.large_string())
    except pa.ArrowException:  # a list of captions, a struct
        words = [None if value is None else str(value) for value in column.to_pylist()]
        return pa.chunked_array([words], pa.large_string())


def _read_verdicts(run: Store, strategy: str, facts: PoolFacts) -> None:
    """Read what a strategy decided, of those shards that could be read."""
    verdicts = read_verdicts(run, strategy, ["reason"])
    rows = np.full(len(verdicts.count), -1, np.int64)
    for judged in verdicts.tables:
        if judged.name in facts.rows:
            mine = facts.rows[judged.name]
            judged.check(facts.uids[mine.start : mine.stop])
            rows[judged.start : judged.stop] = mine
    facts.count[strategy] = np.zeros(len(facts.uids), np.int64)
    facts.count[strategy][rows[rows >= 0]] = verdicts.count[rows >= 0]
    facts.reason[strategy] = Words.of(verdicts.rows["reason"], rows, len(facts.uids), "not judged")


def _kind(status: str, message: str) -> str:
    """Return a failure's kind: its message without what differs from row to row."""
    short = re.sub(r"[\d.]+x[\d.]+|\b\d{4,}\b|'[^']*'|0x[0-9a-f]+", "…", message.split("\n")[0])[:60].strip()
    return f"{status.replace('_', ' ')}: {short}" if short else status.replace("_", " ")


def _folders(store: Store, folder: str) -> list[str]:
    """Return the names of the sub-folders of a folder."""
    if not store.exists(folder):
        return []
    entries = store.fs.ls(store.path(folder), detail=True)
    return sorted(str(e["name"]).rstrip("/").rpartition("/")[2] for e in entries if e["type"] == "directory")


def _read_columns(pool: Store, scorer: str, shard: PoolShard, facts: PoolFacts) -> None:
    """Fill one scorer's numeric columns and outlines for one shard."""
    name = f"columns/{scorer}/{shard.name}.parquet"
    if not pool.exists(name):
        return
    try:
        file = pq.ParquetFile(io.BytesIO(pool.read(name)))
        plain = [f.name for f in file.schema_arrow if _is_number(f.type) or f.name in ("uid", "boxes")]
        table = file.read(columns=plain)
        rows = rows_of(facts.uids, from_hex(table["uid"]))
    except UNREADABLE as error:
        facts.notes.append(f"{name}: {error}")
        return
    for column in plain:
        full = f"{scorer}.{column}"
        if column == "boxes":
            target = facts.boxes.setdefault(full, [None] * len(facts.uids))
            for row, value in zip(rows, table[column].to_pylist(), strict=True):
                if row >= 0:
                    target[row] = value
        elif column != "uid":
            array = facts.columns.setdefault(full, np.full(len(facts.uids), np.nan))
            # not safe: of an integer beyond 2^53, as hashes are, a chart needs only about where it lies
            values = table[column].cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
            values = np.where(np.isfinite(values), values, np.nan)
            array[rows[rows >= 0]] = values[rows >= 0]


def _is_number(kind: pa.DataType) -> bool:
    """Tell whether a column holds one number a row."""
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind))


def _masking_change(facts: PoolFacts) -> NDArray[np.float64] | None:
    """Return how far similarity falls when text is masked, None where that was not measured."""
    if "masked_clip.similarity" not in facts.columns or "clip.similarity" not in facts.columns:
        return None
    return facts.columns["clip.similarity"] - facts.columns["masked_clip.similarity"]


def _read_samples(pool: Store, facts: PoolFacts, rows: Iterable[int]) -> dict[int, Sample]:
    """Read the chosen samples, seeking to them within their tars."""
    by_tar: dict[str, dict[int, int]] = {}
    for row in rows:
        by_tar.setdefault(facts.tars[facts.tar[row]], {})[int(facts.position[row])] = row
    found: dict[int, Sample] = {}
    for tar, wanted in sorted(by_tar.items()):
        try:
            with pool.open(tar) as file:
                samples, _ = locate_samples(file, tar)
                for position, row in ((place, row) for place, row in wanted.items() if place < len(samples)):
                    sample = found[row] = Sample(samples[position].key)
                    for entry in samples[position].members.values():
                        file.seek(entry.offset)
                        sample.members[entry.suffix] = file.read(entry.size)
        except UNREADABLE as error:
            facts.notes.append(f"{tar}: {error}")
    return found


def _pair(facts: PoolFacts, row: int, sample: Sample, mask: Mask | None) -> Pair:
    """Make a pair presentable."""
    scores = {name: float(v[row]) for name, v in sorted(facts.columns.items()) if name.endswith(".similarity")}
    outlines = _outlines(facts, row)
    (uid,) = to_hex(facts.uids[row : row + 1])
    picture, masked, height, width = "", "", 1, 1
    try:
        image = decode_image(sample.image or b"")
        height, width = image.shape[:2]
        picture = _thumbnail(image)
        if outlines and mask is not None:
            masked = _thumbnail(mask(image, [np.array(box, np.float32) for box in outlines]))
    except ImageError as error:
        facts.notes.append(f"{uid}: {error}")
    return Pair(
        uid=uid,
        caption=facts.captions[row].as_py(),
        picture=picture,
        masked=masked,
        width=width,
        height=height,
        boxes=outlines,
        scores={name: score for name, score in scores.items() if not np.isnan(score)},
        reason="",
        category="" if facts.category is None else facts.category[row],
    )


def _judged(pair: Pair, facts: PoolFacts, strategy: str, row: int) -> Pair:
    """Return the pair with a strategy's reason."""
    return replace(pair, reason=facts.reason[strategy][row]) if strategy else pair


def _outlines(facts: PoolFacts, row: int) -> tuple[tuple[tuple[float, float], ...], ...]:
    """Return the polygons of a sample from the first boxes column, stored as JSON or nested lists."""
    for values in facts.boxes.values():
        value = values[row]
        try:
            polygons = json.loads(value) if isinstance(value, str) else value or []
            return tuple(tuple((float(x), float(y)) for x, y in polygon) for polygon in polygons)
        except (ValueError, TypeError):
            return ()
    return ()


def _thumbnail(image: NDArray[np.uint8]) -> str:
    """Return a small WebP as a data: URI."""
    small = Image.fromarray(image)
    small.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    small.save(file, "WEBP", quality=72, method=4)
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode()
