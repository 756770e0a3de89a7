"""Where and how precisely model scorers compute: device, precision, threads."""

import os

from winnow.errors import UserError

__all__ = ["PRECISIONS", "cpu_threads", "resolve_device", "resolve_precision"]

PRECISIONS = ("auto", "fp32", "bf16", "fp16")


def resolve_device(device: str) -> str:
    """Return "cuda" or "cpu" for "auto", any other torch device name as it is.

    Raises:
        UserError: a CUDA device is asked for and there is none.
    """
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise UserError(f"device {device!r} is asked for, but torch sees no CUDA device here; use 'auto' or 'cpu'")
    return device


def resolve_precision(precision: str, device: str) -> str:
    """Return "fp32", "bf16" or "fp16": "auto" takes bfloat16 where the hardware multiplies it, never emulated.

    Args:
        precision: one of PRECISIONS.
        device: a resolved device name.
    """
    import torch

    if precision != "auto":
        return precision
    if device.startswith("cuda"):
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    # private names of torch (2.6 to 2.15); without them the safe answer is float32
    checks = (getattr(torch.cpu, name, None) for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"))
    return "bf16" if device == "cpu" and any(check() for check in checks if check is not None) else "fp32"


def cpu_threads(threads: int = 0) -> int:
    """Return the number of threads to compute with.

    Args:
        threads: as configured; 0 takes OMP_NUM_THREADS (Ray sets it to the CPUs it set aside for the worker), else
            every core this process may use.
    """
    if threads > 0:
        return threads
    told = os.environ.get("OMP_NUM_THREADS", "")
    return int(told) if told.isdigit() and int(told) > 0 else len(os.sched_getaffinity(0))
