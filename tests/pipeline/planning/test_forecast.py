"""Plans from journals with known costs, and from a tiny real run."""

from pathlib import Path

import pytest
from tiny_pool import write_pool
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.config import RunConfig
from pipeline.planning.forecast import Line, parse_rows, plan
from pipeline.planning.measured import Measured, measure
from pipeline.runner import run_stage
from winnow.errors import UserError
from winnow.journal import Journal, Row
from winnow.storage import Store

ROWS_PER_FILE = 100
CONFIG = """
pool: {root}/pool
run_dir: {root}/run
executor: {{use: process, workers: {workers}}}
source: {{use: webnoise, num_samples: 40, num_trusted: 4, num_heldout: 9}}
ingest: {{rows_per_file: {rows_per_file}}}
download: {{}}
score: {{scorers: {{caption_stats: {{}}, image_stats: {{}}}}}}
select: {{strategies: {{no_filter: {{}}, half: {{use: random_subset, fraction: 0.5}}}}}}
reshard: {{samples_per_shard: 50}}
train: {{recipes: {{clip: {{system: {{use: clip}}, samples_seen: 1000, batch_size: 8}}}}}}
report: {{}}
"""


def config(root: Path, workers: int = 1, rows_per_file: int = ROWS_PER_FILE) -> RunConfig:
    root.mkdir(exist_ok=True)
    path = root / "config.yaml"
    path.write_text(CONFIG.format(root=root, workers=workers, rows_per_file=rows_per_file))
    return RunConfig(path)


def row(product: str, seconds: float, size: int, **counts: int) -> Row:
    return Row(product=product, key="k", files={f"{product}.bin": (size, "0" * 64)}, counts=counts, seconds=seconds)


@pytest.fixture
def synthetic(tmp_path: Path) -> RunConfig:
    """Return the config of a run whose costs are known."""
    return pretend(tmp_path / "small", 10)


def pretend(root: Path, num_shards: int) -> RunConfig:
    """Write the journal of a run of so many shards and 30 rows more, 80 % of which were downloaded."""
    found = config(root)
    rows = 100 * num_shards + 30
    pairs = rows * 8 // 10
    pool, run = Journal(Store(found.values["pool"])), Journal(Store(found.values["run_dir"]))
    pool.append(row("ingest/metadata", rows * 0.01, rows * 100, samples=rows))
    pool.append(row("ingest/trusted", 7.0, 500, files=3))
    for shard, size in enumerate([100] * num_shards + [30]):
        ok = size * 8 // 10
        first = 20.0 if shard == 0 else 0.0
        pool.append(row(f"download/{shard:05d}", first + 3 + 0.05 * size, 1000 * ok, samples=size, success=ok))
        for key, per_sample in (("caption_stats", 0.001), ("image_stats", 0.009)):
            pool.append(row(f"score/{key}/{shard:05d}", 0.25 + per_sample * ok, 10 * ok, samples=ok))
    for name, kept in (("half", pairs // 2), ("no_filter", pairs)):
        first = 1e-4 * pairs if name == "half" else 0.0
        run.append(row(f"select/{name}", first + 0.5 + 0.002 * pairs, pairs * 40, samples=pairs, kept=kept))
        for number in range(-(-kept // 50)):
            size = min(50, kept - 50 * number)
            run.append(row(f"reshard/{name}/{number:08d}", 0.1 + 0.004 * size, 1000 * size, samples=size))
    run.append(row("train/clip/half/0", 500.0, 10**6, samples=1000))
    return found


def lines(config: RunConfig, measured: Measured, rows: int) -> dict[str, Line]:
    return {line.stage: line for line in plan(config, measured, rows).lines}


def test_known_costs_give_the_seconds_of_a_larger_pool(synthetic: RunConfig) -> None:
    found = lines(synthetic, measure([synthetic]), 100_000)
    assert found["report"].seconds is None  # it was not run
    assert found["download"].units == 1000
    assert found["download"].seconds == pytest.approx(20 + 1000 * (3 + 0.05 * 100), rel=0.02)
    assert found["score"].samples == 80_000
    assert found["score"].seconds == pytest.approx(1000 * 0.5 + 80_000 * 0.01, rel=0.02)
    assert found["reshard"].units == 80_000 // 50 + 40_000 // 50
    assert found["reshard"].seconds == pytest.approx(2400 * 0.1 + 120_000 * 0.004, rel=0.02)
    assert found["reshard"].disk == pytest.approx(120_000 * 1000, rel=0.01)
    assert found["score"].traffic == pytest.approx(found["download"].disk)


def test_runs_of_two_sizes_tell_what_a_stage_that_sees_the_whole_pool_costs(
    synthetic: RunConfig, tmp_path: Path
) -> None:
    measured = measure([synthetic, pretend(tmp_path / "larger", 100)])
    found = lines(synthetic, measured, 10**6)
    assert found["select"].seconds == pytest.approx(1e-4 * 800_000 + 2 * (0.5 + 0.002 * 800_000), rel=0.05)
    assert found["ingest"].seconds == pytest.approx(7 + 0.01 * 10**6, rel=0.05)


def test_training_takes_what_it_took_whatever_the_pool(synthetic: RunConfig) -> None:
    for rows in (10_000, 10**9):
        line = lines(synthetic, measure([synthetic]), rows)["train"]
        assert line.seconds == pytest.approx(500.0, rel=0.02)
        assert line.samples == 1000


@pytest.mark.parametrize("stage", ["download", "score", "reshard", "select"])
def test_large_pools_scale_linearly(synthetic: RunConfig, stage: str) -> None:
    measured = measure([synthetic])
    one, ten = (lines(synthetic, measured, rows)[stage] for rows in (10**8, 10**9))
    assert ten.seconds == pytest.approx(10 * one.seconds, rel=0.01)  # type: ignore[operator]
    assert ten.disk == pytest.approx(10 * one.disk, rel=0.01)  # type: ignore[operator]


def test_workers_share_the_units_and_larger_shards_have_fewer_fixed_costs(synthetic: RunConfig, tmp_path: Path) -> None:
    measured = measure([synthetic])
    many = lines(config(tmp_path / "many", workers=50), measured, 10**6)["download"]
    assert many.cores == 50
    assert many.seconds == pytest.approx(20 + 10_000 / 50 * (3 + 0.05 * 100), rel=0.02)
    large = lines(config(tmp_path / "large", rows_per_file=10_000), measured, 10**6)["download"]
    assert large.units == 100
    assert large.seconds == pytest.approx(20 + 100 * (3 + 0.05 * 10_000), rel=0.05)


def test_a_run_that_was_never_made_is_planned_from_reference_rates_and_says_so(tmp_path: Path) -> None:
    fresh = config(tmp_path / "fresh")
    found = plan(fresh, measure([fresh]), 10**6)
    by_name = {line.stage: line for line in found.lines}
    assert by_name["download"].basis.startswith("reference")
    assert by_name["download"].seconds
    assert by_name["train"].seconds is None
    assert by_name["train"].basis.startswith("not known")
    assert any("downloaded (assumed)" in text for text in found.assumptions)


def test_a_scorer_that_was_not_measured_is_added_or_named(synthetic: RunConfig, tmp_path: Path) -> None:
    text = CONFIG.replace(
        "image_stats: {{}}", "image_stats: {{}}, phash: {{}}, own: {{use: 'depth_scorer:DepthScorer'}}"
    )
    (tmp_path / "more").mkdir()
    path = tmp_path / "more/config.yaml"
    path.write_text(text.format(root=tmp_path / "more", workers=1, rows_per_file=100))
    measured = measure([synthetic])
    more = lines(RunConfig(path), measured, 10**6)["score"]
    assert more.seconds > lines(synthetic, measured, 10**6)["score"].seconds  # type: ignore[operator]
    assert "without own" in more.basis


REAL = """
pool: {root}/pool
run_dir: {root}/run
executor: {{use: inline}}
score: {{scorers: {{caption_stats: {{}}, image_stats: {{}}}}}}
select: {{strategies: {{no_filter: {{}}, half: {{use: random_subset, fraction: 0.5}}}}}}
reshard: {{samples_per_shard: 8}}
"""


def finished(root: Path, num_shards: int) -> RunConfig:
    """Return the config of a real run over a pool of five pictures a shard."""
    write_pool(root / "pool", num_shards)
    (root / "config.yaml").write_text(REAL.format(root=root))
    found = RunConfig(root / "config.yaml")
    for name in found.stages:
        assert not run_stage(found, name).quarantined
    return found


def test_a_real_run_foretells_what_one_of_twice_its_size_has_and_leaves(tmp_path: Path) -> None:
    small, large = finished(tmp_path / "small", 6), finished(tmp_path / "large", 12)
    foretold, seen = lines(small, measure([small]), 60), measure([large])
    for name in ("score", "select", "reshard"):
        line, units = foretold[name], seen.seconds[name]
        assert line.units == pytest.approx(len(units), abs=1)
        assert line.samples == sum(unit.samples for unit in units)
        assert line.disk == pytest.approx(sum(unit.amount for unit in seen.size[name]), rel=0.15)
        assert line.seconds


def test_the_command_prints_a_line_for_each_stage_and_size(synthetic: RunConfig) -> None:
    result = CliRunner().invoke(app, ["plan", synthetic.values["config_path"], "--rows", "12.8M,1.28B"])
    assert result.exit_code == 0, result.output
    assert "12,800,000 pairs" in result.output
    assert "1,280,000,000 pairs" in result.output
    assert result.output.count("download") >= 2


@pytest.mark.parametrize(
    ("text", "rows"),
    [("12.8M", 12_800_000), ("1.28B", 1_280_000_000), ("400k", 400_000), ("2000", 2000), ("12.8b", 12_800_000_000)],
)
def test_sizes_are_read_as_people_write_them(text: str, rows: int) -> None:
    assert parse_rows(text) == rows


@pytest.mark.parametrize("text", ["", "M", "-3", "12.8 T", "0", "nan", "inf"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="number of pairs"):
        parse_rows(text)
