"""How far each stage is, as Prometheus metrics that Ray exports beside its own."""

from typing import Any

from pipeline.engine.pulse import Pulse

__all__ = ["Metrics"]

GAUGES = {
    "planned": "units of the stage",
    "left": "units that neither are done nor have failed for good",
    "in_flight": "attempts at work or waiting for a worker",
    "units_per_second": "rate of the last minutes",
    "samples_per_second": "rate of the last minutes",
}
COUNTERS = {
    "done": ("winnow_units", "units done"),
    "samples": ("winnow_samples", "samples in the units done"),
    "retries": ("winnow_retries", "attempts that failed and were tried again"),
    "quarantined": ("winnow_quarantined_units", "units that failed for good"),
}


class Metrics:
    """Counters and gauges of the driver, tagged with the stage. For processes in which Ray runs."""

    def __init__(self) -> None:
        from ray.util.metrics import Counter, Gauge

        self.gauges = {name: Gauge(f"winnow_{name}", what, tag_keys=("stage",)) for name, what in GAUGES.items()}
        self.counters = {name: Counter(full, what, tag_keys=("stage",)) for name, (full, what) in COUNTERS.items()}
        self.failures = Counter("winnow_failures", "samples by what became of them", tag_keys=("stage", "kind"))
        self.told: dict[Any, int] = {}

    def report(self, pulse: Pulse) -> None:
        """Bring the metrics up to a pulse of the stage."""
        tags = {"stage": pulse.stage}
        for name, gauge in self.gauges.items():
            gauge.set(getattr(pulse, name), tags)
        for name, counter in self.counters.items():
            self._raise(counter, name, getattr(pulse, name), tags)
        for kind, number in pulse.failures.items():
            self._raise(self.failures, ("failures", kind), number, {**tags, "kind": kind})

    def _raise(self, counter: Any, name: Any, value: int, tags: dict[str, str]) -> None:
        """Raise a counter to a value: Ray's take differences."""
        if (more := value - self.told.get(name, 0)) > 0:
            counter.inc(more, tags)
            self.told[name] = value
