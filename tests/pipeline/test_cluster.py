"""A simulated cluster loses a process, an actor or a node in the middle of each data stage: the same bytes."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from slow_stages import SLOW
from small_run import STAGES, products, write_config

import pipeline.engine.executors.ray
from pipeline.config import RunConfig
from pipeline.engine.pulse import read_pulse
from pipeline.runner import run_stage
from winnow.journal import Journal
from winnow.storage import Store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An undisturbed run without Ray."""
    folder = tmp_path_factory.mktemp("calm")
    config = RunConfig(write_config(folder, str(folder / "pool"), str(folder / "run"), {"use": "inline"}))
    for stage in STAGES:
        assert not run_stage(config, stage).quarantined
    return products(Store(folder / "pool"), Store(folder / "run"))


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A head without room for workers and three nodes with room for one each; a dead node is noticed within seconds."""
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    for name, value in (("PERIOD_MS", 500), ("FAILURE_THRESHOLD", 4), ("TIMEOUT_MS", 2000), ("INITIAL_DELAY_MS", 0)):
        monkeypatch.setenv(f"RAY_health_check_{name.lower()}", str(value))
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests/support")])
    monkeypatch.setenv("PYTHONPATH", path)
    small = {"object_store_memory": 80 * 2**20}
    found = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **small})
    found.workers = [found.add_node(num_cpus=1, **small) for _ in range(3)]
    found.wait_for_nodes()
    try:
        yield found
    finally:
        ray.shutdown()
        found.shutdown()


def kill_process(cluster: Any, actors: list[Any]) -> None:
    """SIGKILL the process of an actor at work."""
    os.kill(busy_pid(actors), signal.SIGKILL)


def busy_pid(actors: list[Any]) -> int:
    """Return the process id of an actor that is at work, by the title Ray gives its process."""
    found = subprocess.run(["pgrep", "-f", r"^ray::_Actor\.make"], capture_output=True, text=True).stdout.split()
    mine = [int(pid) for pid in found if descends(int(pid), os.getpid())]
    assert mine, "no actor of this test is at work"
    return mine[0]


def descends(pid: int, ancestor: int) -> bool:
    """Tell whether a process is a descendant of another."""
    while pid > 1:
        try:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except FileNotFoundError:
            return False
        if pid == ancestor:
            return True
    return False


def kill_actor(cluster: Any, actors: list[Any]) -> None:
    """Let Ray kill an actor at work: one that does not answer at once."""
    import ray

    answers = {actor.__ray_ready__.remote(): actor for actor in actors}
    _, busy = ray.wait(list(answers), num_returns=len(answers), timeout=0.3)
    assert busy, "no actor is at work"
    ray.kill(answers[busy[0]])


def kill_node(cluster: Any, actors: list[Any]) -> None:
    """Take away, without a farewell, the node whose actor is at work."""
    pid = busy_pid(actors)
    (node,) = [node for node in cluster.workers if descends(pid, node.all_processes["raylet"][0].process.pid)]
    cluster.workers.remove(node)
    cluster.remove_node(node, allow_graceful=False)


@pytest.mark.parametrize("kill", [kill_process, kill_actor, kill_node])
def test_killed_in_the_middle_of_each_stage(
    kill: Callable[[Any, list[Any]], None],
    cluster: Any,
    tmp_path: Path,
    calm: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    executor = {"use": "ray", "address": cluster.address, "workers": 3}
    config = RunConfig(write_config(tmp_path, str(tmp_path / "pool"), str(tmp_path / "run"), executor))
    for name, kind in SLOW.items():
        config.stages[name] = kind(**dict(config.stages[name]))
    actors: list[Any] = []
    create = pipeline.engine.executors.ray._Actors._actor

    def remembering(self: Any) -> Any:
        actors.append(create(self))
        return actors[-1]

    monkeypatch.setattr(pipeline.engine.executors.ray._Actors, "_actor", remembering)
    for stage in STAGES:
        actors.clear()
        done = threading.Event()
        killer = threading.Thread(target=disturb, args=(config, stage, done, kill, cluster, actors))
        if stage in SLOW:
            killer.start()
        summary = run_stage(config, stage)
        done.set()
        assert not summary.quarantined
        assert summary.done == summary.planned
        if stage in SLOW:
            killer.join()
            pulse = read_pulse(config.stages[stage].store, stage)
            assert pulse is not None
            assert pulse.retries >= 1, f"{stage} was not disturbed"
            if kill is kill_node:
                cluster.workers.append(cluster.add_node(num_cpus=1, object_store_memory=80 * 2**20))
    assert products(Store(tmp_path / "pool"), Store(tmp_path / "run")) == calm
    assert not list(tmp_path.glob("*/_attempts/*"))


def disturb(
    config: RunConfig, stage: str, done: threading.Event, kill: Callable[..., None], cluster: Any, actors: list[Any]
) -> None:
    """Wait for the first finished unit, then for units to be at work, and kill."""
    while not done.is_set() and not Journal(config.stages[stage].store).under(f"{stage}/"):
        time.sleep(0.1)
    time.sleep(0.7)  # a new unit is in the middle of its two seconds
    kill(cluster, actors)


def test_goes_on_with_fewer_workers_than_asked_for(cluster: Any, tmp_path: Path, calm: dict[str, str]) -> None:
    """Room for three, eight asked for: units do not wait for workers that never come."""
    executor = {"use": "ray", "address": cluster.address, "workers": 8}
    config = RunConfig(write_config(tmp_path, str(tmp_path / "pool"), str(tmp_path / "run"), executor))
    for stage in STAGES:
        assert not run_stage(config, stage).quarantined
    assert products(Store(tmp_path / "pool"), Store(tmp_path / "run")) == calm


def test_a_straggler_gets_a_second_attempt_on_another_node(cluster: Any, tmp_path: Path) -> None:
    from squares import Squares

    path = tmp_path / "run.yaml"
    (tmp_path / "run").mkdir()
    path.write_text(yaml.safe_dump({"pool": str(tmp_path / "pool"), "run_dir": str(tmp_path / "run")}))
    config = RunConfig(path, [f"executor.address={cluster.address}", "executor.workers=3"])
    config.stages["squares"] = Squares(
        pool=str(tmp_path / "pool"), run_dir=str(tmp_path / "run"), numbers=range(1, 8), faults={7: "hang once"}
    )
    summary = run_stage(config, "squares")
    assert (summary.done, summary.counts["samples"]) == (7, 28)


def free_port() -> int:
    """Return a port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def head() -> Iterator[tuple[str, dict[str, str]]]:
    """Start a head node with its dashboard on loopback; return the dashboard's address and who knows the token."""
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # its sockets need a short path
    dashboard = free_port()
    command = [Path(sys.executable).with_name("ray"), "start", "--head", "--block", "--disable-usage-stats"]
    command += ["--node-ip-address=127.0.0.1", f"--port={free_port()}", f"--temp-dir={folder}", "--num-cpus=2"]
    command += ["--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}", "--object-store-memory=100000000"]
    token = folder / "token"
    token.touch(0o600)
    token.write_text(secrets.token_urlsafe(32))
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH" and "RAY_" not in key}
    environment |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        yield f"http://127.0.0.1:{dashboard}", environment
    finally:
        process.send_signal(signal.SIGTERM)  # `--block` ends what it has started
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)


def test_ray_job_submit(head: tuple[str, dict[str, str]], tmp_path: Path, calm: dict[str, str]) -> None:
    """The command of docs/cluster.md, with the repository as working_dir."""
    address, environment = head
    executor = {"use": "ray", "address": "auto", "workers": 2}
    path = write_config(tmp_path, str(tmp_path / "pool"), str(tmp_path / "run"), executor)
    command = [str(Path(sys.executable).with_name("ray")), "job", "submit", "--address", address, "--working-dir", "."]
    command += ["--", sys.executable, "-m", "pipeline", "run", str(path)]
    deadline = time.monotonic() + 120
    while True:  # the dashboard takes a while to answer
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        if done.returncode == 0 or "Failed to connect" not in done.stdout + done.stderr or time.monotonic() > deadline:
            break
        time.sleep(3)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "succeeded" in done.stdout
    assert products(Store(tmp_path / "pool"), Store(tmp_path / "run")) == calm


def test_the_block_of_the_page(tmp_path: Path, calm: dict[str, str]) -> None:
    """The lines of docs/cluster.md as they stand, where Ray has made no token yet; CONFIG and `python` are ours."""
    page = (ROOT / "docs/cluster.md").read_text(encoding="utf-8")
    blocks = [part.partition("```")[0] for part in page.split("```bash\n")[1:]]
    (block,) = [text for text in blocks if "ray job submit" in text]
    executor = {"use": "ray", "address": "auto", "workers": 2}
    path = write_config(tmp_path, str(tmp_path / "pool"), str(tmp_path / "run"), executor)
    home = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "PYTHONPATH"))}
    environment |= {
        "HOME": str(home),
        "CONFIG": str(path),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    script = "set -e\n" + block.replace("run CONFIG", 'run "$CONFIG"')
    try:
        done = subprocess.run(
            ["bash", "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=400
        )
    finally:
        shutil.rmtree(home, ignore_errors=True)
        found = subprocess.run(
            ["pgrep", "-f", "ray/(core|dashboard|_private|autoscaler)"], capture_output=True, text=True
        )
        for pid in map(int, found.stdout.split()):
            if f"HOME={home}\0" in environ_of(pid):
                os.kill(pid, signal.SIGKILL)
    assert done.returncode == 0, done.stdout + done.stderr
    assert products(Store(tmp_path / "pool"), Store(tmp_path / "run")) == calm


def environ_of(pid: int) -> str:
    """Return the environment of a process, "" where it is gone."""
    try:
        return Path(f"/proc/{pid}/environ").read_text(errors="replace")
    except OSError:
        return ""


def test_slurm_script_on_one_node(tmp_path: Path, calm: dict[str, str]) -> None:
    """The script itself; of Slurm only what it would tell one machine."""
    executor = {"use": "ray", "address": "auto", "workers": 2}
    path = write_config(tmp_path, str(tmp_path / "pool"), str(tmp_path / "run"), executor)
    environment = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    environment |= {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "RAY_PORT": str(free_port())}
    environment |= {"SLURM_CPUS_PER_TASK": "2", "SLURM_SUBMIT_DIR": str(tmp_path)}
    command = ["bash", "examples/cluster/slurm.sh", str(path)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert products(Store(tmp_path / "pool"), Store(tmp_path / "run")) == calm
    assert not list(tmp_path.glob(".ray-token*"))
