"""The page of benchmarks says what each printed, and names those that failed."""

import sys

from benchmarks.run_all import page, perform


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_a_result_is_quoted_and_a_failure_named_with_its_error() -> None:
    good = perform(python("print('median ratio 3.5x')"))
    bad = perform(python("raise RuntimeError('no such peer')"))
    assert not good.failed
    assert bad.failed
    text = page([good, bad])
    assert "median ratio 3.5x" in text
    assert "RuntimeError: no such peer" in text
    assert "**1 of 2 failed:**" in text
    for fact in ("Machine:", "cores", "GiB", "torch 2", "open_clip_torch", "webdataset", "ray", "pyarrow", "UTC"):
        assert fact in text


def test_silence_is_a_failure() -> None:
    outcome = perform(python("print('done')"))
    assert outcome.failed
    assert "without a result" in outcome.output


def test_what_does_not_end_is_a_failure_that_keeps_what_it_said() -> None:
    outcome = perform(python("import time; print('ratio 1x', flush=True); time.sleep(60)"), timeout=2)
    assert outcome.failed
    assert "not finished after 2 s" in outcome.output
