"""The report on a small pool and run whose every number is known."""

import hashlib
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image, ImageDraw

from pipeline.stages.report import Report
from tests.support.verdicts import write_verdicts
from winnow.journal import Journal, Row
from winnow.shards import ShardWriter
from winnow.storage import Store
from winnow.uid import make_uid, to_hex

COLOURS = {"red": (214, 69, 65), "green": (63, 161, 93), "blue": (52, 120, 196), "gold": (222, 170, 52)}
CATEGORIES = ("random", "visual", "visual_random_text", "visual_and_text", "text")
HOSTILE = "<script>alert('x')</script> & \"quoted\" <img src=http://evil.example/x.png>"
N, SHARDS = 240, 2


def draw(colour: str, text: str, number: int) -> bytes:
    image = Image.new("RGB", (120, 120), "white")
    pen = ImageDraw.Draw(image)
    shape = (pen.ellipse, pen.rectangle, pen.regular_polygon)[number % 3]
    if number % 3 == 2:
        shape((60, 52, 40), 3, fill=COLOURS[colour])  # type: ignore[arg-type]
    else:
        shape((22, 14, 98, 90), fill=COLOURS[colour])  # type: ignore[call-arg]
    if text:
        pen.text((14, 98), text, fill="black", font_size=16)
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def write_parquet(store: Store, name: str, columns: dict[str, Any]) -> None:
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file)
    store.write(name, file.getvalue())


def journal(store: Store, product: str, files: list[str], **counts: int) -> None:
    sums = {name: (store.size(name) or 0, hashlib.sha256(store.read(name)).hexdigest()) for name in files}
    Journal(store).append(Row(product=product, key="k", files=sums, counts=counts))


def build_pool(pool: Store) -> dict[str, np.ndarray]:
    """Write two shards, three scorers and the truth; return the arrays they were made of."""
    rng = np.random.default_rng(0)
    category = rng.choice(CATEGORIES, N, p=(0.1, 0.4, 0.1, 0.2, 0.2))
    colour = rng.choice(list(COLOURS), N)
    has_text = np.char.find(category.astype(str), "text") >= 0
    agrees = np.isin(category, ("visual", "visual_random_text", "visual_and_text"))
    clip = 0.16 + 0.10 * (agrees | (category == "text")) + rng.normal(0, 0.03, N)
    masked = clip - np.where(category == "text", 0.1, np.where(has_text, 0.015, 0.0))
    captions = [f"a {c} shape, number {i}" for i, c in enumerate(colour)]
    captions[3] = captions[77] = HOSTILE
    uids = [make_uid(f"http://pool.example/{i}.png", text) for i, text in enumerate(captions)]
    store_masked = masked.astype(np.float32)
    store_clip = clip.astype(np.float32)
    for shard in range(SHARDS):
        rows = range(shard * N // SHARDS, (shard + 1) * N // SHARDS)
        tar = io.BytesIO()
        writer = ShardWriter(tar)
        for i in rows:
            shown = colour[i] if agrees[i] else list(COLOURS)[(list(COLOURS).index(colour[i]) + 1) % 4]
            text = {
                "text": f"{colour[i]} shape",
                "visual_and_text": f"{colour[i]} shape",
                "visual_random_text": "sale!",
            }
            meta = json.dumps({"uid": uids[i]}).encode()
            picture = draw(str(shown), text.get(str(category[i]), ""), i)
            writer.write(f"{i:09d}", {"png": picture, "txt": captions[i].encode(), "json": meta})
        writer.close()
        name = f"{shard:05d}"
        pool.write(f"shards/{name}.tar", tar.getvalue())
        failed = 9
        table = {
            "uid": [uids[i] for i in rows] + [f"{shard:016x}{k:016x}" for k in range(failed)],
            "url": [f"http://pool.example/{i}.png" for i in rows] + ["http://gone.example/"] * failed,
            "caption": [captions[i] for i in rows] + ["gone"] * failed,
            "status": ["success"] * len(rows) + ["failed_to_download"] * 6 + ["failed_to_resize"] * 3,
            "error_message": [None] * len(rows) + ["HTTP Error 404: Not Found"] * 6 + ["not a picture"] * 3,
        }
        write_parquet(pool, f"shards/{name}.parquet", table)
        journal(pool, f"download/{name}", [f"shards/{name}.tar", f"shards/{name}.parquet"], samples=len(rows))
        mine = [uids[i] for i in rows]
        boxes = [json.dumps([[[12, 96], [108, 96], [108, 117], [12, 117]]] if has_text[i] else []) for i in rows]
        write_parquet(pool, f"columns/clip/{name}.parquet", {"uid": mine, "similarity": store_clip[list(rows)]})
        write_parquet(
            pool, f"columns/masked_clip/{name}.parquet", {"uid": mine, "similarity": store_masked[list(rows)]}
        )
        write_parquet(pool, f"columns/text_boxes/{name}.parquet", {"uid": mine, "boxes": boxes})
    write_parquet(pool, "truth.parquet", {"uid": uids, "category": category.tolist()})
    pool.write("metadata/00000.parquet", b"x")
    journal(pool, "ingest/metadata", ["metadata/00000.parquet"], samples=N + 18, duplicates=7)
    return {"uid": np.array(uids), "category": category, "clip": store_clip, "masked": store_masked}


def build_subsets(run: Store, facts: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    cut_clip, cut_masked = np.sort(facts["clip"])[-N // 2], np.sort(facts["clip"])[-N // 2]
    keep = {
        "no_filter": np.ones(N, bool),
        "clip_score": facts["clip"] >= cut_clip,
        "tmars": facts["masked"] >= cut_masked,
    }
    order = np.argsort(facts["uid"])
    keep["random_tmars"] = np.isin(np.arange(N), order[: keep["tmars"].sum()])
    reasons = {
        "no_filter": "",
        "clip_score": f"clip.similarity below {cut_clip:.4g} (top 50%)",
        "tmars": f"masked_clip.similarity below {cut_masked:.4g} (top 50% of clip.similarity)",
        "random_tmars": "not drawn",
    }
    for name, kept in keep.items():
        words = np.where(kept, "", reasons[name])
        shards = {f"{n:05d}": facts["uid"][n * N // SHARDS : (n + 1) * N // SHARDS].tolist() for n in range(SHARDS)}
        write_verdicts(Path(run.path(f"subsets/{name}.parquet")), shards, kept.tolist(), words.tolist())
    return keep


def build_results(run: Store) -> dict[str, np.ndarray]:
    """Write results of four CLIP models and two generators."""
    rng = np.random.default_rng(1)
    levels = {"no_filter": 0.44, "clip_score": 0.50, "tmars": 0.60, "random_tmars": 0.38}
    ease = rng.random(400)
    correct = {name: ease + 0.15 * rng.normal(size=400) < level for name, level in levels.items()}
    for name, level in levels.items():
        folder = f"eval/clip/{name}/0"
        acc = float(correct[name].mean())
        hits = np.concatenate([rng.random(80) < level / 2, rng.random(40) < level / 2]).astype(float)
        recall = float((hits[:80].mean() + hits[80:].mean()) / 2)
        common = {"system": "clip", "subset": name, "seed": 0, "samples_seen": 40000}
        rows = [
            common
            | {
                "key": "groups",
                "dataset": "groups",
                "metrics": {"acc1": acc, "acc5": 0.9, "mean_per_class_recall": acc, "main_metric": acc},
                "main_metric_name": "acc1",
                "num_samples": 400,
                "interval": [acc - 0.05, acc + 0.05],
                "notes": {"chance": 1 / 9},
            },
            common
            | {
                "key": "retrieval",
                "dataset": "retrieval",
                "metrics": {"mean_recall@1": recall, "main_metric": recall},
                "main_metric_name": "mean_recall@1",
                "num_samples": 40,
                "interval": [recall - 0.1, recall + 0.1],
            },
        ]
        run.write(f"{folder}/results.jsonl", "".join(json.dumps(row) + "\n" for row in rows).encode())
        samples = {"sample": [f"s{i}" for i in range(400)], "label": [i % 9 for i in range(400)]}
        write_parquet(run, f"{folder}/samples-groups.parquet", samples | {"correct": correct[name]})
        queries = {
            "direction": ["image_retrieval"] * 80 + ["text_retrieval"] * 40,
            "sample": [f"s{i // 2}" for i in range(80)] + [f"s{i}" for i in range(40)],
            "hit1": hits,
        }
        write_parquet(run, f"{folder}/samples-retrieval.parquet", queries)
        journal(run, folder, [f"{folder}/{file}" for file in ("results.jsonl", "samples-groups.parquet")])
        log = [
            {"samples_seen": s, "lr": 1e-3, "contrastive.loss": 4 * np.exp(-s / 3e4) + level}
            for s in range(1000, 40001, 1000)
        ]
        run.write(f"train/{folder[5:]}/metrics.jsonl", "".join(json.dumps(line) + "\n" for line in log).encode())
        journal(run, f"train/{folder[5:]}", [f"train/{folder[5:]}/metrics.jsonl"])
    for name in ("no_filter", "tmars"):
        folder = f"eval/flow/{name}/0"
        grid = Image.fromarray(rng.integers(0, 255, (66, 66, 3), dtype=np.uint8))
        file = io.BytesIO()
        grid.save(file, "PNG")
        run.write(f"{folder}/generation-grid.png", file.getvalue())
        notes = {
            "lower_is_better": True,
            "prompts": ["a red shape", HOSTILE, "c", "d"],
            "columns": 2,
            "resize": "bicubic",
        }
        value = 12.5 if name == "tmars" else 20.25
        row = {
            "key": "generation",
            "dataset": "generation",
            "system": "flow",
            "subset": name,
            "seed": 0,
            "samples_seen": 40000,
            "metrics": {"FD-EffNetLite0": value, "main_metric": value},
            "num_samples": 256,
            "interval": None,
            "notes": notes,
        }
        run.write(f"{folder}/results.jsonl", (json.dumps(row) + "\n").encode())
        journal(run, folder, [f"{folder}/results.jsonl", f"{folder}/generation-grid.png"])
    return correct


class Page(HTMLParser):
    """Collects tags, the text and every attribute that a browser would fetch."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.fetched: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            assert not name.startswith("on"), f"{tag} has the handler {name}"
            if name in ("src", "href", "srcset", "data", "poster", "action"):
                self.fetched.append(value or "")

    def handle_data(self, data: str) -> None:
        self.text += data

    @property
    def words(self) -> str:
        return re.sub(r"\s+", " ", self.text)


def report(pool: Store, run: Store, out: Path, **fields: Any) -> tuple[str, dict[str, Path]]:
    stage = Report(pool=pool.url, run_dir=run.url, config_path="configs/demo.yaml", **fields)
    out.mkdir()
    (unit,) = stage.plan()
    files = dict(stage.run(unit, out)["report"].files)
    return files["report.html"].read_text(encoding="utf-8"), files


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("loop")
    pool, run = Store(folder / "pool"), Store(folder / "run")
    facts = build_pool(pool)
    keep = build_subsets(run, facts)
    correct = build_results(run)
    config = {"title": "Test <pool>", "score": {"scorers": {"masked_clip": {"fill": "constant", "constant": 0}}}}
    run.write("config.yaml", yaml.safe_dump(config).encode())
    html, files = report(pool, run, folder / "out", source={"use": "webnoise"})
    return {
        "pool": pool,
        "run": run,
        "facts": facts,
        "keep": keep,
        "correct": correct,
        "html": html,
        "files": files,
        "page": Page(html),
        "folder": folder,
    }


def test_refers_to_nothing_outside_itself(world: dict[str, Any]) -> None:
    page, html = world["page"], world["html"]
    assert not {"script", "link", "iframe", "object", "embed", "base", "form"} & set(page.tags)
    assert all(target.startswith(("data:image/webp;base64,", "#")) for target in page.fetched)
    assert "@import" not in html
    assert "url(" not in html
    targets = [target[1:] for target in page.fetched if target.startswith("#")]
    assert targets
    assert all(f'id="{target}"' in html for target in targets)


def test_escapes_hostile_captions_and_titles(world: dict[str, Any]) -> None:
    assert HOSTILE not in world["html"]
    assert "&lt;script&gt;alert" in world["html"]
    assert "<title>Test &lt;pool&gt;" in world["html"]


def test_funnel_agrees_with_the_files(world: dict[str, Any]) -> None:
    words = world["page"].words
    assert f"rows of the source {N + 18 + 7} lost: 7 duplicates" in words
    assert f"tried to download {N + 18}" in words
    assert "12 failed to download: HTTP Error 404: Not Found · 6 failed to resize: not a picture" in words
    assert f"downloaded {N} " in words
    for name, kept in world["keep"].items():
        assert f"kept by {name} {int(kept.sum())}" in words


def test_headline_agrees_with_the_examples(world: dict[str, Any]) -> None:
    correct, words = world["correct"], world["page"].words
    gain = 100 * (correct["tmars"].mean() - correct["no_filter"].mean())
    over_random = 100 * (correct["tmars"].mean() - correct["random_tmars"].mean())
    assert f"tmars is ahead of every other filter on groups; it beats no_filter by {gain:.1f} points and as" in words
    lead = 100 * (correct["tmars"].astype(float) - correct["clip_score"]).mean()
    assert re.search(rf"\+{lead:.1f} points tmars against clip_score, interval \[\+", words), "it is ahead: no zero"
    assert f"{over_random:+.1f} points tmars against random_tmars (random, same size)" in words
    assert "Difference is larger than test-set uncertainty; one seed only." in words


def test_truth_table_agrees_with_the_files(world: dict[str, Any]) -> None:
    words = world["page"].words
    good = np.isin(world["facts"]["category"], ("visual", "visual_random_text", "visual_and_text"))
    for name in ("clip_score", "tmars"):
        kept = world["keep"][name]
        precision, recall = 100 * (kept & good).sum() / kept.sum(), 100 * (kept & good).sum() / good.sum()
        assert re.search(rf"{name}\s*{precision:.1f}\s*\[[\d., ]+\]\s*{recall:.1f}\s*\[", words), name


def test_overlap_agrees_with_the_files(world: dict[str, Any]) -> None:
    a, b = world["keep"]["clip_score"], world["keep"]["tmars"]
    cells = re.findall(r'<td style="--v:[\d.]+">([\d.]+)</td>', world["html"])
    assert len(cells) == 16
    assert f"{(a & b).sum() / (a | b).sum():.2f}" in cells
    assert cells[0] == "1.00"


def test_generators_rank_lower_first(world: dict[str, Any]) -> None:
    words = world["page"].words
    part = words[words.index("flow on generation (lower is better)") :]
    assert re.search(r"tmars\s*0\s*12.5\s.*no_filter\s*0\s*20.25", part)


def test_shows_masked_pictures_as_the_config_masks(world: dict[str, Any]) -> None:
    html = world["html"]
    assert "<polygon" in html
    assert "the same with its text masked" in html
    assert "Most of the similarity was text" in html


def test_results_file_is_the_sum_of_the_models(world: dict[str, Any]) -> None:
    lines = world["files"]["results.jsonl"].read_text().splitlines()
    assert len(lines) == 4 * 2 + 2
    assert lines == sorted(lines)
    assert {json.loads(line)["system"] for line in lines} == {"clip", "flow"}


def test_the_obtained_pool_is_named_and_its_manifest_written(world: dict[str, Any]) -> None:
    manifest = np.load(world["files"]["recovered.npy"])
    assert sorted(to_hex(manifest)) == to_hex(manifest) == sorted(world["facts"]["uid"])
    name = hashlib.sha256(manifest.tobytes()).hexdigest()[:16]
    line = f"Pool {name}: {N} of {N + 18} pairs were obtained ({100 * N / (N + 18):.1f} %)."
    assert world["page"].words.count(line) == 2  # beside the result and under provenance


def test_same_files_same_bytes(world: dict[str, Any]) -> None:
    again, _ = report(world["pool"], world["run"], world["folder"] / "again", source={"use": "webnoise"})
    assert again == world["html"]


def test_attribution_and_provenance(world: dict[str, Any]) -> None:
    words = world["page"].words
    assert "CC BY-SA 4.0" in words
    assert "winnow report configs/demo.yaml" in words
    assert "fill: constant" in words


def test_an_empty_pool_gives_a_page(tmp_path: Path) -> None:
    html, files = report(Store(tmp_path / "pool"), Store(tmp_path / "run"), tmp_path / "out")
    assert "Nothing to report yet" in html
    assert list(files) == ["report.html"]


def test_a_pool_that_was_only_scored_gives_a_shorter_page(world: dict[str, Any], tmp_path: Path) -> None:
    html, _ = report(world["pool"], Store(tmp_path / "run"), tmp_path / "out")
    assert 'id="scores"' in html
    assert 'id="result"' not in html
    assert 'id="overlap"' not in html


def test_partial_files_are_noted_and_left_out(tmp_path: Path) -> None:
    pool, run = Store(tmp_path / "pool"), Store(tmp_path / "run")
    facts = build_pool(pool)
    build_subsets(run, facts)
    build_results(run)
    Path(pool.path("columns/clip/00001.parquet")).write_bytes(b"PAR1 cut short")
    Path(pool.path("columns/masked_clip/00000.parquet")).unlink()
    Path(pool.path("shards/00001.tar")).write_bytes(b"\0" * 100)
    Path(run.path("subsets/clip_score.parquet")).write_bytes(b"")
    Path(run.path("eval/clip/tmars/0/samples-groups.parquet")).unlink()
    run.write("eval/clip/no_filter/0/results.jsonl", b'{"key": "groups"}\nno json\n')
    html, _ = report(pool, run, tmp_path / "out")
    words = Page(html).words
    assert "What could not be read" in words
    for name in ("columns/clip/00001.parquet", "shards/00001.tar", "subsets/clip_score.parquet", "a line of results"):
        assert name in words
    assert f"downloaded {N} " in words


def test_is_stale_when_a_product_changes(world: dict[str, Any], tmp_path: Path) -> None:
    run = Store(tmp_path / "run")
    run.write("a.txt", b"a")
    stage = Report(pool=world["pool"].url, run_dir=run.url)
    before = stage.plan()[0].products
    assert stage.plan()[0].products == before
    journal(run, "train/clip/tmars/0", ["a.txt"])
    assert stage.plan()[0].products != before
