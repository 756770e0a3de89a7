"""The few collectives that training needs; in a single process each is the identity."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

__all__ = ["all_gather", "average_gradients", "mean", "process_group", "rank", "union", "world_size"]


def rank() -> int:
    """Return this process's number, 0 in a single process."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """Return the number of processes that train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


@contextmanager
def process_group(device: torch.device) -> Iterator[None]:
    """Join the processes that a launcher announced in the environment (env://), and leave them at the end.

    A group that stands already, Ray Train's for example, is used and left alone.
    """
    if dist.is_initialized() or int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()


def mean(values: Tensor) -> Tensor:
    """Return the mean of `values` over the ranks."""
    if world_size() > 1:
        dist.all_reduce(values)
        values /= world_size()
    return values


def union(found: dict[int, str]) -> dict[int, str]:
    """Return what any rank found, the same on every rank."""
    if world_size() == 1:
        return found
    parts: list[dict[int, str]] = [{} for _ in range(world_size())]
    dist.all_gather_object(parts, found)
    return {key: value for part in parts for key, value in part.items()}


def average_gradients(parameters: Iterable[Tensor]) -> None:
    """Replace every gradient by its mean over the ranks, in one all-reduce of a flat buffer.

    A plain reduction after backward, unlike DistributedDataParallel, does not mind which parameters a phase uses; it
    gives up the overlap of communication with backward.
    """
    if world_size() == 1:
        return
    parameters = [parameter for parameter in parameters if parameter.requires_grad]
    for parameter in parameters:  # a rank that did not touch a parameter still takes part in its mean
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    sizes = [gradient.numel() for gradient in gradients]
    flat = mean(torch.cat([gradient.flatten() for gradient in gradients]))
    for gradient, part in zip(gradients, torch.split(flat, sizes), strict=True):
        gradient.copy_(part.view_as(gradient))


def all_gather(features: Tensor) -> Tensor:
    """Concatenate (b, D) features of all ranks to (world * b, D), in rank order, with gradient to every rank.

    With a loss that is a mean over each rank's own samples and gradients averaged over ranks, the encoder gradients
    equal those of one process with the whole batch.
    """
    return _AllGather.apply(features) if world_size() > 1 else features


class _AllGather(torch.autograd.Function):
    """All-gather whose backward pass sums, over ranks, the gradients that reach this rank's features."""

    @staticmethod
    def forward(ctx: Any, features: Tensor) -> Tensor:
        """Return the features of all ranks, in rank order."""
        parts = [torch.empty_like(features) for _ in range(world_size())]
        dist.all_gather(parts, features.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Tensor:
        """Sum the gradients of all ranks and keep this rank's rows."""
        gradient: Tensor = gradients[0].contiguous()
        dist.all_reduce(gradient)
        return gradient.chunk(world_size())[rank()]
