"""Embeddings that a pool is compared with: of a target set (the training pictures of a task, say), or centroids.

They are read from what other tools leave: .npy, .npz, .pt (tensors alone, never a pickled object), parquet, a folder of
such files, clip-retrieval's `img_emb/*.npy`; or a folder of tars with pictures is embedded on the spot.
"""

import hashlib
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Literal, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.implementations.local import LocalFileSystem
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from filters.models.compute import resolve_device, resolve_precision
from filters.models.weights import file_sha256, weights_identity
from filters.vectors.embeddings import unit
from winnow.columns import to_numpy
from winnow.errors import UserError
from winnow.images import ImageError, decode_image
from winnow.patience import reach
from winnow.shards import read_shard

__all__ = ["TargetSet", "read_vectors", "vectors_identity"]

SUFFIXES = (".npy", ".npz", ".pt", ".pth", ".parquet")
EMBEDDED_AT_ONCE = 256


class TargetSet(BaseModel):
    """Where the embeddings of a target set come from. In a config, a path alone will do."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    path: str
    """A file or folder, local or an fsspec URL, see `read_vectors`; or a folder that holds tars of pictures."""
    key: str = ""
    """Which array of an .npz or .pt, or column of a parquet, where there is more than one."""
    model: str = ""
    """For tars: the open_clip model that the pool's embeddings were made with."""
    pretrained: str = ""
    """For tars: its weights, a tag or a path."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """For tars: of the weights."""
    device: str = Field(default="auto", exclude=True)
    """For tars: "auto", "cpu" or "cuda"."""

    @model_validator(mode="before")
    @classmethod
    def _path_alone(cls, value: Any) -> Any:
        return {"path": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _check(self) -> Self:
        if bool(self.model) != bool(self.pretrained):
            raise UserError("a target set of pictures needs both `model` and `pretrained`, any other needs neither")
        return self

    def identity(self) -> Mapping[str, str]:
        """Return the hash of its files and, for pictures, what their embeddings depend on.

        Raises:
            UserError: there is no such file or checkpoint.
        """
        identity = {"target": vectors_identity(self.path)}
        if self.model:
            from filters.models.clip_inference import PREPROCESSING

            precision = resolve_precision(self.precision, resolve_device(self.device))
            identity |= {"weights": weights_identity(self.model, self.pretrained)}
            identity |= {"preprocessing": PREPROCESSING, "precision": precision}
        return identity

    def load(self) -> NDArray[np.float32]:
        """Return (t, d) embeddings of length 1.

        Raises:
            UserError: the files hold no embeddings, or a picture cannot be decoded.
        """
        fs, names = _find(self.path)
        tars = [name for name in names if name.endswith(".tar")]
        if not tars:
            return unit(read_vectors(self.path, self.key))
        if not self.model:
            raise UserError(f"{self.path!r} holds tars of pictures: name the CLIP model, `model` and `pretrained`")
        return self._embed(fs, tars)

    def check(self, width: int, column: str) -> NDArray[np.float32]:
        """Return the embeddings, sure that they can be multiplied with those of a column.

        Raises:
            UserError: they are of another size.
        """
        target = self.load()
        if target.shape[1] != width:
            raise UserError(
                f"the embeddings in {self.path!r} are of {target.shape[1]} numbers, {column!r} is of {width}: "
                "both must come from the same model"
            )
        return target

    def _embed(self, fs: Any, tars: list[str]) -> NDArray[np.float32]:
        """Embed the pictures of some tars."""
        from filters.models.clip_inference import ClipTowers

        towers = ClipTowers(self.model, self.pretrained, precision=self.precision, device=self.device)
        parts, images = [], []
        for image in _pictures(fs, tars):
            images.append(image)
            if len(images) == EMBEDDED_AT_ONCE:
                parts.append(towers.embed_images(images))
                images = []
        parts.append(towers.embed_images(images))
        return np.concatenate(parts)


def read_vectors(path: str, key: str = "") -> NDArray[np.float32]:
    """Return the (t, d) vectors of a file, or of all files of a folder one after the other.

    Args:
        path: .npy, .npz, .pt, .pth or .parquet; or a folder of them; or a folder of clip-retrieval.
        key: which array or column, where a file holds several.

    Raises:
        UserError: no such file, or nothing in it is a matrix of numbers.
    """
    fs, names = _find(path)
    retrieved = [name for name in names if name.split("/")[-2:-1] == ["img_emb"] and name.endswith(".npy")]
    parts = []
    for name in retrieved or [name for name in names if name.endswith(SUFFIXES)]:
        with fs.open(name, "rb") as file:
            array = np.asarray(_read(file, name, key))
        if array.ndim != 2 or not np.issubdtype(array.dtype, np.floating):
            raise UserError(f"{name!r} holds {array.dtype} of shape {array.shape}, not embeddings (number, size)")
        parts.append(array.astype(np.float32))
    if not parts or sum(map(len, parts)) == 0:
        raise UserError(f"no embeddings in {path!r}: accepted are {', '.join(SUFFIXES)} and folders of them")
    if len({part.shape[1] for part in parts}) > 1:
        raise UserError(f"the files in {path!r} hold embeddings of different sizes: give one file, or sort them")
    vectors = np.concatenate(parts)
    if not np.isfinite(vectors).all():
        raise UserError(f"some of the embeddings in {path!r} are not finite numbers; leave those rows out")
    return vectors


def vectors_identity(path: str) -> str:
    """Return "sha256:..." of the contents of a file or of all files of a folder, whatever the folder's name.

    Raises:
        UserError: there is no such file.
    """
    fs, names = _find(path)
    local = isinstance(fs, LocalFileSystem)
    states = [(name.rpartition("/")[2], file_sha256(Path(name)) if local else str(fs.ukey(name))) for name in names]
    return "sha256:" + hashlib.sha256(json.dumps(states).encode()).hexdigest()


def _find(path: str) -> tuple[Any, list[str]]:
    """Return the file system and the sorted files of a file or folder that may hold vectors or pictures."""
    fs, root = reach(path)
    found = sorted(fs.find(root)) if fs.isdir(root) else [root] if fs.exists(root) else []
    names = [str(name) for name in found if str(name).endswith((*SUFFIXES, ".tar"))]
    if not names:
        what = f"none of its {len(found)} files ends in" if found else "there is no such file or folder; accepted is"
        raise UserError(f"no embeddings at {path!r}: {what} {', '.join(SUFFIXES)} or .tar")
    return fs, names


def _read(file: IO[bytes], name: str, key: str) -> Any:
    """Return one array of a file."""
    if name.endswith(".parquet"):
        schema = pq.read_schema(file)
        lists = [field.name for field in schema if pa.types.is_nested(field.type)]
        return _matrix(pq.read_table(file, columns=[_choice(name, key, lists)]).column(0).drop_null())
    if name.endswith((".pt", ".pth")):
        import torch

        found = torch.load(io.BytesIO(file.read()), map_location="cpu", weights_only=True)
        found = found[_choice(name, key, list(found))] if isinstance(found, dict) else found
        return found.float().numpy() if isinstance(found, torch.Tensor) else found
    loaded = np.load(io.BytesIO(file.read()), allow_pickle=False)
    return loaded if isinstance(loaded, np.ndarray) else loaded[_choice(name, key, loaded.files)]


def _matrix(column: pa.ChunkedArray) -> NDArray[Any]:
    """Return a column of lists as (t, d), the lists' type fixed or not."""
    if pa.types.is_fixed_size_list(column.type):
        return to_numpy(column)
    return np.array(column.to_pylist())


def _choice(name: str, key: str, found: list[str]) -> str:
    """Return the one array that is asked for.

    Raises:
        UserError: there is another number of them, or none of this name.
    """
    if key in found:
        return key
    if key or len(found) != 1:
        raise UserError(f"{name!r} has {', '.join(map(repr, found)) or 'no arrays'}: name one of them as `key`")
    return found[0]


def _pictures(fs: Any, tars: list[str]) -> Iterator[NDArray[np.uint8]]:
    """Yield the decoded pictures of some tars.

    Raises:
        UserError: one cannot be decoded: a target set is to be what it is taken for.
    """
    for tar in tars:
        with fs.open(tar, "rb") as file:
            for sample in read_shard(file, tar):
                if sample.image is not None:
                    try:
                        yield decode_image(sample.image)
                    except ImageError as error:
                        raise UserError(f"the target picture {sample.key!r} in {tar!r}: {error}; remove it") from None
