"""Outcomes against the metrics that they are the parts of."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.metrics.accuracy import accuracy
from eval.outcomes import outcomes_of


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=40))
def test_classification_outcomes_average_to_the_metrics(pairs: list[tuple[int, int]]) -> None:
    labels, predicted = np.array(pairs).T
    metrics = accuracy(predicted[:, None], labels)
    rows = {"sample": list(map(str, range(len(pairs)))), "label": labels, "correct": labels == predicted}
    found = outcomes_of(pa.table(rows))
    for name, outcome in found.items():
        assert outcome.weighted().mean() == pytest.approx(metrics[name])
    assert found["acc1"].classes is None
    assert found["mean_per_class_recall"].classes is not None


def test_rows_of_a_generator_are_no_outcomes() -> None:
    assert outcomes_of(pa.table({"sample": [0, 1], "caption": ["a", "b"]})) == {}
