"""Make units on Ray actors, on this machine or on a cluster.

Ray carries specs and reports; the disk is the only state. Ray's own restarts and retries are off: a restarted actor
whose node is gone waits for ever, and an out-of-memory task is retried without end; the driver counts attempts instead.
"""

import logging
import os
import secrets
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from pipeline.engine.crew import Crew, leave_stage
from pipeline.engine.executor import Executor, Workers
from pipeline.engine.metrics import Metrics
from pipeline.engine.perform import Outcome, Worker
from pipeline.engine.pulse import Pulse
from pipeline.stage import Stage, Unit
from winnow.loggers import without_wandb
from winnow.progress import console

__all__ = ["Ray"]

START_ATTEMPTS = 3
LEAVING = 5.0
"""Seconds that an actor has to drop its stage, before it is ended."""
PATIENCE = 30.0
"""Seconds without any worker after which the user is told what the cluster lacks."""


@dataclass
class _Left:
    """An actor between two stages."""

    actor: Any
    node: str
    may_stay: Any
    """Reference to what it answered to `leave`."""


def _kill(left: _Left) -> None:
    """End an actor, dead or not."""
    import ray

    ray.kill(left.actor)


class Ray(Executor):
    """`workers` actors, each making one unit at a time."""

    address: str = "local"
    """"local" starts Ray inside this process; "auto" or an address joins a running cluster."""
    cpus_per_worker: float = Field(default=1.0, ge=0)
    """CPUs that Ray sets aside for a worker."""
    gpus_per_worker: float = Field(default=0.0, ge=0)
    """GPUs that Ray sets aside for a worker; it sees these alone."""
    memory_per_worker: int = Field(default=0, ge=0)
    """Bytes of memory that Ray sets aside for a worker; 0 for none."""
    resources: dict[str, float] = Field(default_factory=dict)
    """Custom resources of a worker: {spot: 0.01} keeps it on nodes started with this resource."""
    metrics_port: int | None = Field(default=None, ge=0, le=65535)
    """Port of this machine for Prometheus' metrics where address is "local"; not given, Ray chooses one."""

    @contextmanager
    def open(self, stage: Stage) -> Iterator[Workers]:
        """Create actors as units come. Ray itself stays up for the next stage."""
        _connect(self)
        with self._hands() as crew:
            workers = _Actors(stage, self, crew)
            try:
                yield workers
            finally:
                workers.close()

    def new_crew(self) -> Crew[_Left]:
        """Return an empty crew of actors."""
        return Crew(_kill)

    def share(self) -> dict[str, Any]:
        """Return Ray's options for what a worker has of a machine."""
        return {
            "num_cpus": self.cpus_per_worker,
            "num_gpus": self.gpus_per_worker,
            "resources": self.resources or None,
            "memory": self.memory_per_worker or None,
        }


def _connect(settings: Ray) -> None:
    """Start or join Ray, once in a process; what is started here listens on loopback and wants a token."""
    if settings.address == "local" and "ray" not in sys.modules:  # it reads these once
        _keep_private()
    import ray

    os.environ.pop(_CLUSTERS, None)
    if ray.is_initialized():
        return
    quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    if settings.address != "local":
        ray.init(address=settings.address, **quiet)
        return
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    # workers import what this process can: a checkout that is not installed, entries kept outside the tree
    os.environ["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    # actors must fit even where the machine has fewer cores than workers were asked for
    cpus = max(os.cpu_count() or 1, round(settings.workers * settings.cpus_per_worker))
    if settings.metrics_port is not None:
        quiet["_metrics_export_port"] = settings.metrics_port
    for attempt in range(START_ATTEMPTS):
        try:
            # the store carries no data: keep it small
            ray.init("local", num_cpus=cpus, include_dashboard=False, object_store_memory=100 * 2**20, **quiet)
            return
        except Exception:  # Ray raises a bare Exception when its agents miss their 30 s, as on a busy machine
            ray.shutdown()
            if attempt == START_ATTEMPTS - 1:
                raise


_CLUSTERS = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""Ray's switch for addresses that other machines can reach, on by default on Linux (Ray's issue 18730)."""


def _keep_private() -> None:
    """Let a Ray of this process listen on 127.0.0.1, and take orders from those alone who know a token of this process.

    Whoever can talk to Ray runs code as us. It would listen on every address, with a token only where it is new enough.
    """
    os.environ[_CLUSTERS] = "0"
    if "RAY_AUTH_MODE" not in os.environ:
        os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}


@dataclass
class _Waiting:
    """An attempt that no actor has yet."""

    attempt: int
    unit: Unit
    apart: str
    """The node to keep away from, "" for none."""


@dataclass
class _Busy:
    """An attempt at work."""

    actor: Any
    attempt: int
    unit: Unit
    since: float


class _Actors:
    """Actors are asked where they are before they are given a unit; only one that answers gets it.

    So a unit waits neither for a worker that the cluster has no room for while others are free, nor is it tried on one
    that has died idle.
    """

    def __init__(self, stage: Stage, settings: Ray, crew: Crew[_Left]) -> None:
        self.stage = stage
        self.crew = crew
        self.settings = settings
        self.capacity = settings.workers
        self.waiting: deque[_Waiting] = deque()
        self.idle: list[Any] = []
        self.asked: dict[Any, Any] = {}
        """Reference to the answer -> actor."""
        self.busy: dict[Any, _Busy] = {}
        """Reference to the outcome -> attempt."""
        self.nodes: dict[Any, str] = {}
        """Actor -> id of its node, once known."""
        self.joined: set[Any] = set()
        """Actors that have this stage."""
        self.metrics = Metrics()
        self.last_worker = time.monotonic()
        self._take_over()

    def submit(self, attempt: int, unit: Unit, apart: int | None = None) -> None:
        node = next((self.nodes[busy.actor] for busy in self.busy.values() if busy.attempt == apart), "")
        self.waiting.append(_Waiting(attempt, unit, node))

    def next(self, timeout: float) -> tuple[int, Outcome] | None:
        import ray

        deadline = time.monotonic() + timeout
        while True:
            self._ask()
            left = max(deadline - time.monotonic(), 0)
            done, _ = ray.wait([*self.asked, *self.busy], num_returns=1, timeout=left)
            if not done:
                self._complain()
                return None
            found = self._answered(done[0]) if done[0] in self.asked else self._ended(done[0])
            if found is not None:
                return found

    def running(self) -> Mapping[int, float]:
        return {busy.attempt: busy.since for busy in self.busy.values()}

    def stop(self, attempt: int) -> None:
        self.waiting = deque(item for item in self.waiting if item.attempt != attempt)
        for reference, busy in list(self.busy.items()):
            if busy.attempt == attempt:
                del self.busy[reference]
                self._drop(busy.actor)

    def report(self, pulse: Pulse) -> None:
        self.metrics.report(pulse)

    def close(self) -> None:
        for actor in [*self.asked.values(), *(busy.actor for busy in self.busy.values())]:
            self._drop(actor)
        left = [_Left(actor, self.nodes[actor], actor.leave.remote()) for actor in self.idle]
        self.crew.leave(self._kind(), left)

    def _take_over(self) -> None:
        """Take the actors of the stage before that answer that they can go on."""
        import ray

        for left in self.crew.take(self._kind(), self.capacity):
            try:
                stays = ray.get(left.may_stay, timeout=LEAVING)
            except ray.exceptions.RayError:  # it has died, or does not answer
                stays = False
            if stays:
                self.nodes[left.actor] = left.node
                self.idle.append(left.actor)
            else:
                _kill(left)

    def _kind(self) -> str:
        """Return what an actor cannot change: its share of a machine."""
        return repr(self.settings.share())

    def _ask(self) -> None:
        """Ask an actor for each unit that waits: an idle one, best on a node that the unit may be on, or a new one.

        Idle ones are asked even while new ones are: the cluster may never have room for these.
        """
        asked_again = sum(actor in self.nodes for actor in self.asked.values())
        for item in list(self.waiting)[asked_again:]:
            if self.idle:
                self.idle.sort(key=lambda actor: self.nodes[actor] != item.apart)
                actor = self.idle.pop()
            elif len(self.asked) < len(self.waiting) and len(self.asked) + len(self.busy) < self.capacity:
                actor = self._actor()
            else:
                return
            self.asked[actor.where.remote(None if actor in self.joined else self.stage)] = actor
            self.joined.add(actor)

    def _answered(self, reference: Any) -> tuple[int, Outcome] | None:
        """Give a unit to an actor that has answered."""
        import ray

        actor = self.asked.pop(reference)
        try:
            self.nodes[actor] = ray.get(reference)
        except ray.exceptions.RayError as error:
            started = actor in self.nodes
            self._drop(actor)
            if started or not self.waiting:  # it has died idle: another one is asked
                return None
            item = self.waiting.popleft()
            return item.attempt, Outcome(item.unit, error=f"no worker could start: {_last(error)}", detail=str(error))
        self.last_worker = time.monotonic()
        if not self.waiting:
            self.idle.append(actor)
            return None
        item = self.waiting.popleft()
        self.busy[actor.make.remote(item.unit)] = _Busy(actor, item.attempt, item.unit, time.monotonic())
        return None

    def _ended(self, reference: Any) -> tuple[int, Outcome]:
        """Take an actor's outcome, or tell how it died."""
        import ray

        busy = self.busy.pop(reference)
        try:
            outcome: Outcome = ray.get(reference)
        except ray.exceptions.RayError as error:
            node = self.nodes[busy.actor]
            gone = node not in {entry["NodeID"] for entry in ray.nodes() if entry["Alive"]}
            self._drop(busy.actor)
            text = f"the worker's machine is gone: node {node}" if gone else f"the worker died: {_last(error)}"
            return busy.attempt, Outcome(busy.unit, error=text, detail=str(error), blameless=gone)
        self.idle.append(busy.actor)
        self.last_worker = time.monotonic()
        return busy.attempt, outcome

    def _complain(self) -> None:
        """Say what is missing when units have waited for long without any worker."""
        import ray

        if self.busy or not self.waiting or time.monotonic() - self.last_worker < PATIENCE:
            return
        self.last_worker = time.monotonic()
        wanted = {"CPU": self.settings.cpus_per_worker, "GPU": self.settings.gpus_per_worker, **self.settings.resources}
        have = {name: amount for name, amount in ray.cluster_resources().items() if not name.startswith("node:")}
        console.print(
            f"  {self.stage.name}: no worker could be placed for {PATIENCE:.0f} s. Each wants {wanted}, the cluster "
            f"has {have}; it goes on as soon as there is room (see executor.per_stage)",
            markup=False,
        )

    def _drop(self, actor: Any) -> None:
        """Kill an actor, dead or not."""
        import ray

        self.nodes.pop(actor, None)
        self.joined.discard(actor)
        ray.kill(actor)

    def _actor(self) -> Any:
        """Create an actor; Ray starts it when a node has room."""
        import ray

        options: dict[str, Any] = {
            **self.settings.share(),
            "scheduling_strategy": "SPREAD",
            "max_restarts": 0,
            "max_task_retries": 0,
        }
        return ray.remote(_Actor).options(**options).remote()


class _Actor:
    """The actor: a worker for the stage that it was given last."""

    def __init__(self) -> None:
        without_wandb()
        self.worker: Worker | None = None

    def where(self, stage: Stage | None) -> str:
        """Take a stage, if one is given, and return the id of the node it is on."""
        import ray

        if stage is not None:
            self.worker = Worker(stage)
        return str(ray.get_runtime_context().get_node_id())

    def make(self, unit: Unit) -> Outcome:
        """Make a unit of the stage."""
        assert self.worker is not None
        return self.worker.make(unit)

    def leave(self) -> bool:
        """Drop the stage; tell whether the next one may have this actor."""
        self.worker = None
        return leave_stage()


def _last(error: Exception) -> str:
    """Return the last line of Ray's error, which says most."""
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]
