"""The files of examples/ are valid, and docs/cluster.md names fields that exist."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from pipeline.config import RunConfig
from pipeline.engine.executors.ray import Ray
from winnow.component import build

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples/cluster"


def test_the_cluster_config_is_one() -> None:
    config = RunConfig(EXAMPLES / "config.yaml")
    assert list(config.stages) == ["ingest", "download", "score", "select", "reshard"]
    score = config.executor.for_stage(config.stages["score"])
    assert isinstance(score, Ray)
    assert (score.workers, score.gpus_per_worker, score.unit_timeout) == (8, 1, 3600)
    assert config.executor.for_stage(config.stages["select"]).workers == 64


def test_the_executor_section_of_the_page_is_valid() -> None:
    text = (ROOT / "docs/cluster.md").read_text()
    section = yaml.safe_load(re.search(r"```yaml\n(executor:.*?)```", text, re.DOTALL)[1])["executor"]  # type: ignore[index]
    executor = build("pipeline.engine.executors", section, "ray", "executor")
    named = set(section) - {"use"}
    assert named == set(Ray.model_fields), "the page shows every field"
    assert executor.per_stage["score"] == {"workers": 8, "gpus_per_worker": 1}


def test_slurm_script_parses_and_runs_the_command() -> None:
    subprocess.run(["bash", "-n", EXAMPLES / "slurm.sh"], check=True)
    assert 'python -m pipeline run "$config"' in (EXAMPLES / "slurm.sh").read_text()


def test_kuberay_example() -> None:
    job, policy = yaml.safe_load_all((EXAMPLES / "kuberay-rayjob.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    command = job["spec"]["entrypoint"]
    assert command.startswith("python -m pipeline run ")
    assert (ROOT / command.rpartition(" ")[2]).is_file()
    assert yaml.safe_load(job["spec"]["runtimeEnvYAML"])["env_vars"]
    cluster = job["spec"]["rayClusterSpec"]
    pods = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    for pod in pods:
        container = pod["template"]["spec"]["containers"][0]
        assert container["resources"]["requests"] == container["resources"]["limits"]
    for group in cluster["workerGroupSpecs"]:
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    assert policy["kind"] == "NetworkPolicy"


@pytest.mark.parametrize("page", ["reliability", "security"])
def test_every_test_that_a_page_names_exists(page: str) -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", (ROOT / f"docs/{page}.md").read_text())
    assert len(named) > 25
    for path, function in named:
        assert re.search(rf"^def {function}\(", (ROOT / path).read_text(), re.MULTILINE), f"{path}::{function}"


def test_every_letter_of_the_reliability_page_is_explained() -> None:
    text = (ROOT / "docs/reliability.md").read_text()
    rows = [row.split("|")[2:-1] for row in text.splitlines() if row.count("|") == 7][2:]
    letters = {letter for row in rows for cell in row for letter in cell.split()}
    assert len(letters) > 12
    assert all(f"\n- {letter}: " in text for letter in letters)
