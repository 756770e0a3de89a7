"""What one training run needs to know: the fields of a recipe file, with the defaults of open_clip."""

from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from winnow.component import Component
from winnow.errors import unknown
from winnow.registry import names

__all__ = ["Hyperparameters", "Recipe"]


Changeable = Literal[
    "lr", "warmup", "samples_seen", "weight_decay", "betas", "eps", "grad_clip", "precision", "log_every", "snapshots"
]
"""What can change in the middle of a training: everything but the system, its state and the order of samples."""


class Hyperparameters(Component):
    """Everything about a run but its data, its seed and its place; stages share these fields."""

    system: dict[str, Any]
    """What is trained: `use` names a file of training/systems/, the other keys are fields of its Config."""
    samples_seen: int = Field(gt=0)
    """The budget: samples drawn in all, repeats counted. Rounded up to whole batches."""
    batch_size: int = Field(gt=0)
    """Samples per step over all ranks together, so that results do not depend on the number of ranks."""
    lr: float = Field(default=5e-4, gt=0)
    """Peak learning rate of AdamW; a cosine takes it to 0 at `samples_seen`."""
    warmup: int = Field(default=0, ge=0)
    """Samples of linear warm-up before the cosine."""
    weight_decay: float = Field(default=0.2, ge=0)
    """Decoupled; tensors of one dimension or none (norms, biases, logit scale) are never decayed."""
    betas: tuple[float, float] = (0.9, 0.98)
    """AdamW's moment decays."""
    eps: float = Field(default=1e-6, gt=0)
    """AdamW's epsilon."""
    grad_clip: float | None = Field(default=None, gt=0)
    """Largest global gradient norm of a phase; None leaves gradients as they are."""
    accumulate: int = Field(default=1, ge=1)
    """Micro-batches per step, to fit memory; systems whose loss couples the samples of a batch refuse more than 1."""
    ema: float = Field(default=0.0, ge=0, lt=1)
    """Decay of the moving average of weights that is saved and used in the end; 0 keeps none."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """bf16 runs the forward pass in autocast; weights, gradients and optimizer stay in float32."""
    checkpoint_every: int = Field(default=100_000, gt=0)
    """Samples between checkpoints."""
    keep_checkpoints: int = Field(default=2, ge=1)
    """Newest checkpoints kept on disk."""
    snapshots: int = Field(default=0, ge=0)
    """Weights to keep from along the way, at equal distances: snapshots/00001.pt and so on, the last the final ones."""
    log_every: int = Field(default=1_000, gt=0)
    """Samples between lines of metrics.jsonl; a line holds means since the one before."""
    num_workers: int = Field(default=2, ge=1)
    """Decode threads of each rank."""
    cache: bool = False
    """Keep decoded pictures in memory, for sets that fit: the same bits, without decoding again in later passes."""
    max_bad_share: float = Field(default=0.5, ge=0, lt=1)
    """Pictures that do not decode are skipped and counted; training stops when they are more than this share of the
    samples tried (of the first thousand, or of the whole set where it is smaller, at the least)."""
    continue_with_changes: list[Changeable] = Field(default=[])
    """Fields that may differ from those of the checkpoint to go on from, `[lr]` after a loss that diverged."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto takes the GPU where there is one."""

    @field_validator("system")
    @classmethod
    def _known_system(cls, system: dict[str, Any]) -> dict[str, Any]:
        """Catch a misspelt system without importing torch; its own fields are checked when it is built."""
        use, accepted = str(system.get("use", "")), names("training.systems")
        if ":" not in use and use not in accepted:
            raise unknown("system (key `use`)", use, accepted)
        return system

    @model_validator(mode="after")
    def _divisible(self) -> Self:
        """Check that a batch splits into micro-batches."""
        if self.batch_size % self.accumulate:
            raise ValueError(f"batch_size {self.batch_size} must be a multiple of accumulate {self.accumulate}")
        return self

    @classmethod
    def tiny(cls) -> Self:
        """Return the smallest valid instance, for the contract tests."""
        return cls(system={"use": "clip"}, samples_seen=8, batch_size=4)


class Recipe(Hyperparameters):
    """A resolved recipe file: `python -m training RECIPE.yaml`."""

    data: list[str] = Field(min_length=1)
    """Paths of the WebDataset shards, on this machine's disks."""
    out_dir: str
    """Folder of the run: config.yaml, metrics.jsonl, timings.jsonl, checkpoints/, model.pt."""
    seed: int = 0
    """Decides initial weights, data order, augmentation and every other draw."""

    @classmethod
    def tiny(cls) -> Self:
        """Return the smallest valid instance, for the contract tests."""
        return cls(data=["0.tar"], out_dir="out", **Hyperparameters.tiny().model_dump())
