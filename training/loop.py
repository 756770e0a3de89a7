"""The one training loop: steps of update phases, for every system.

A step reads a global batch, then runs the system's phases in order; a phase evaluates its objective, averages gradients
over ranks, checks that they are finite and moves one group of parameters.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim import AdamW, Optimizer

from training.account import take_account, write_account
from training.advice import advice
from training.checkpoint import load_latest, save_checkpoint
from training.data import Pairs
from training.distributed import average_gradients, mean, rank, world_size
from training.ema import Ema
from training.metrics_log import MetricsLog
from training.order import Order
from training.recipe import Hyperparameters
from training.schedule import learning_rate
from training.snapshots import save_snapshot
from training.stream import Skipped, batches
from training.system import Group, Phase, System
from winnow.errors import UserError

__all__ = ["fit"]

_SETTINGS = ("weight_decay", "betas", "eps")

_log = logging.getLogger(__name__)


def fit(
    system: System, pairs: Pairs, recipe: Hyperparameters, *, seed: int, out_dir: Path, device: torch.device
) -> Ema | None:
    """Train `system` in place for the recipe's budget, going on from the newest checkpoint in `out_dir`.

    An interrupted and repeated call ends with the weights and metrics of an undisturbed one, bit for bit on a device
    with deterministic kernels: order, augmentation and random draws are functions of (seed, rank, samples_seen).

    Returns:
        The moving average of the weights, if the recipe keeps one.

    Raises:
        UserError: a loss or gradient is not finite, or the recipe does not fit the system or the number of ranks.
    """
    _check(system, recipe)
    total = -(-recipe.samples_seen // recipe.batch_size) * recipe.batch_size
    groups = system.groups()
    optimizers = {name: _optimizer(group, recipe) for name, group in groups.items()}
    ema = Ema(system, recipe.ema) if recipe.ema else None
    log = MetricsLog(out_dir, writes=rank() == 0)
    skipped = Skipped()
    if rank() == 0:
        for line in advice(system, recipe, len(pairs)):
            _log.warning("%s", line)
    samples_seen = _restore(out_dir, system, optimizers, ema, log, skipped)
    system.train()
    with batches(
        pairs, Order(pairs.identities(), seed), system, start=samples_seen, stop=total, batch_size=recipe.batch_size,
        skipped=skipped, max_bad_share=recipe.max_bad_share, rank=rank(),
        world_size=world_size(), num_workers=recipe.num_workers,
    ) as stream:  # fmt: skip
        for batch in stream:
            torch.manual_seed(_step_seed(seed, rank(), samples_seen))
            step, progress = samples_seen // recipe.batch_size, samples_seen / total
            lr = learning_rate(recipe.lr, samples_seen, recipe.batch_size, recipe.warmup, total)
            parts = [system.phases(part, progress) for part in batch.to(device).split(recipe.accumulate)]
            for phases in zip(*parts, strict=True):
                if (step + 1) % phases[0].every == 0:
                    optimizer = optimizers[phases[0].group]
                    log.add(_update(phases, groups, optimizer, recipe, lr, samples_seen, device))
                    system.after_step(phases[0].name, progress)
            if ema is not None:
                ema.update(step)
            before, samples_seen = samples_seen, samples_seen + recipe.batch_size
            # before the checkpoint: a run that goes on from it has every snapshot up to it
            for number in range(before * recipe.snapshots // total, samples_seen * recipe.snapshots // total):
                if rank() == 0:
                    save_snapshot(system, ema, out_dir / "snapshots", number + 1)
            if _crossed(recipe.log_every, before, samples_seen) or samples_seen == total:
                log.write(samples_seen, lr)
            if _crossed(recipe.checkpoint_every, before, samples_seen) or samples_seen == total:
                _save(out_dir, recipe.keep_checkpoints, samples_seen, system, optimizers, ema, log, skipped)
    if rank() == 0:
        account = take_account(pairs, skipped)
        write_account(account, out_dir)
        for line in account.lines():
            _log.info("%s", line)
    return ema


def _update(
    phases: Sequence[Phase],
    groups: dict[str, Group],
    optimizer: Optimizer,
    recipe: Hyperparameters,
    lr: float,
    samples_seen: int,
    device: torch.device,
) -> dict[str, float]:
    """Run one phase (one Phase per micro-batch) and return its terms, means over ranks and micro-batches."""
    name, group = phases[0].name, groups[phases[0].group]
    optimizer.zero_grad(set_to_none=True)
    sums: dict[str, Tensor] = {}
    with _only(group, groups):
        for phase in phases:
            with torch.autocast(device.type, torch.bfloat16, enabled=recipe.precision == "bf16"):
                terms = phase.terms()
            (terms["loss"] / len(phases)).backward()  # type: ignore[no-untyped-call]
            for term, value in terms.items():
                sums[term] = sums.get(term, 0) + value.detach().float() / len(phases)
        average_gradients(group.parameters)
    sums["grad_norm"] = _norm(group)
    averaged = mean(torch.stack(list(sums.values())))
    values = {f"{name}/{term}": value for term, value in zip(sums, averaged.tolist(), strict=True)}
    if bad := [f"{term} = {value}" for term, value in values.items() if not np.isfinite(value)]:
        raise UserError(
            f"training diverged after {samples_seen} samples: {', '.join(bad)}. The step was not taken; lower `lr`, "
            "lengthen `warmup` or set `grad_clip`, and name what you changed (`continue_with_changes: [lr]`) to "
            "go on from the newest checkpoint"
        )
    if recipe.grad_clip is not None:
        torch.nn.utils.clip_grad_norm_(group.parameters, recipe.grad_clip)
    for options in optimizer.param_groups:
        options["lr"] = lr * group.lr_scale
    optimizer.step()
    return values


def _optimizer(group: Group, recipe: Hyperparameters) -> Optimizer:
    """Build AdamW for a group; tensors of one dimension or none are not decayed."""
    decay = recipe.weight_decay if group.weight_decay is None else group.weight_decay
    options = [
        {"params": [p for p in group.parameters if p.ndim > 1], "weight_decay": decay},
        {"params": [p for p in group.parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    options = [option for option in options if option["params"]]
    return AdamW(options, lr=recipe.lr, betas=group.betas or recipe.betas, eps=recipe.eps, fused=True)


@contextmanager
def _only(group: Group, groups: dict[str, Group]) -> Iterator[None]:
    """Let no parameter but those of `group` take gradients: the generator's phase passes through the discriminator."""
    moving = {id(parameter) for parameter in group.parameters}
    others = [p for other in groups.values() for p in other.parameters if id(p) not in moving]
    for parameter in others:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in others:
            parameter.requires_grad_(True)


def _norm(group: Group) -> Tensor:
    """Return the norm of a group's gradients, as one vector."""
    gradients = [parameter.grad for parameter in group.parameters if parameter.grad is not None]
    norm: Tensor = torch.stack([gradient.norm() for gradient in gradients]).norm()
    return norm


def _step_seed(seed: int, rank: int, samples_seen: int) -> int:
    """Hash (seed, rank, samples_seen) to 63 bits: a step's draws depend on nothing that came before it."""
    return int(np.random.SeedSequence([seed, rank, samples_seen]).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _crossed(interval: int, before: int, after: int) -> bool:
    """Tell whether a multiple of `interval` lies in (before, after]."""
    return before // interval != after // interval


def _check(system: System, recipe: Hyperparameters) -> None:
    """Check what only the system and the number of ranks can tell."""
    if recipe.accumulate > 1 and system.couples_samples:
        raise UserError(
            f"`accumulate` must be 1 for {type(system).__name__}: its loss compares the samples of a batch; lower "
            "`batch_size` or train on more ranks"
        )
    if recipe.batch_size % (world_size() * recipe.accumulate):
        raise UserError(
            f"`batch_size` {recipe.batch_size} must be a multiple of ranks x accumulate = "
            f"{world_size()} x {recipe.accumulate}"
        )
    if recipe.snapshots > (steps := -(-recipe.samples_seen // recipe.batch_size)):
        raise UserError(f"`snapshots` {recipe.snapshots} must be at most the number of steps, {steps}")


def _save(
    out_dir: Path,
    keep: int,
    samples_seen: int,
    system: System,
    optimizers: dict[str, Optimizer],
    ema: Ema | None,
    log: MetricsLog,
    skipped: Skipped,
) -> None:
    """Write a checkpoint from rank 0. Random state needs no entry, it follows from samples_seen."""
    if rank() > 0:
        return
    state: dict[str, Any] = {
        "samples_seen": samples_seen,
        "system": system.state_dict(),
        "optimizers": {name: optimizer.state_dict() for name, optimizer in optimizers.items()},
        "ema": None if ema is None else ema.state_dict(),
        "log": log.state_dict(),
        "about": system.about(),
        "skipped": skipped.state_dict(),
    }
    save_checkpoint(out_dir / "checkpoints", samples_seen, state, keep)


def _restore(
    out_dir: Path,
    system: System,
    optimizers: dict[str, Optimizer],
    ema: Ema | None,
    log: MetricsLog,
    skipped: Skipped,
) -> int:
    """Load the newest checkpoint, if any, and return the samples seen by then."""
    state = load_latest(out_dir / "checkpoints")
    if state is None:
        log.start()
        return 0
    system.load_state_dict(state["system"])
    for name, optimizer in optimizers.items():
        settings = [{key: options[key] for key in _SETTINGS} for options in optimizer.param_groups]
        optimizer.load_state_dict(state["optimizers"][name])
        for options, mine in zip(optimizer.param_groups, settings, strict=True):
            options.update(mine)  # the recipe's, should it have changed
    if ema is not None:
        ema.load_state_dict(state["ema"])
    log.resume(state["samples_seen"], state["log"])
    if "skipped" in state:  # older checkpoints are of runs that had none
        skipped.load_state_dict(state["skipped"])
    return int(state["samples_seen"])
