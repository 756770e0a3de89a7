import os

import pytest
import torch

from filters.models.compute import cpu_threads, resolve_device, resolve_precision
from winnow.errors import UserError


def test_threads_are_those_asked_for_then_those_ray_set_aside_then_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert cpu_threads(5) == 5
    assert cpu_threads() == 3
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert cpu_threads() == len(os.sched_getaffinity(0))


def test_precision_is_taken_as_given_and_auto_never_emulates() -> None:
    assert resolve_precision("fp32", "cpu") == "fp32"
    native = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
    assert resolve_precision("auto", "cpu") == ("bf16" if native else "fp32")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_missing_gpu_is_said() -> None:
    assert resolve_device("auto") == "cpu"
    with pytest.raises(UserError, match="no CUDA device"):
        resolve_device("cuda")
