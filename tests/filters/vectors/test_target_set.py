import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from filters.models.clip_inference import ClipTowers
from filters.vectors.target_set import TargetSet, read_vectors, vectors_identity
from winnow.errors import UserError
from winnow.shards import ShardWriter

TINY = "configs/models/winnow-tiny.json"


@pytest.fixture
def vectors() -> Any:
    return np.random.default_rng(0).standard_normal((12, 8)).astype(np.float16)


def tar(path: Path, pictures: list[bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        writer = ShardWriter(file)
        for number, data in enumerate(pictures):
            writer.write(f"{number:04d}", {"jpg": data, "txt": b"x"})
        writer.close()


def jpeg(pixels: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def test_every_form_of_the_same_vectors_is_read(vectors: Any, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", vectors)
    np.savez(tmp_path / "b.npz", l14_img=vectors, l14_txt=vectors + 1)
    np.savez(tmp_path / "c.npz", vectors)
    torch.save(torch.from_numpy(vectors), tmp_path / "d.pt")
    torch.save({"x": torch.from_numpy(vectors).bfloat16().half(), "y": torch.from_numpy(vectors)}, tmp_path / "e.pt")
    flat = pa.array(vectors.ravel())
    table = {"uid": [str(n) for n in range(12)], "emb": pa.FixedSizeListArray.from_arrays(flat, 8)}
    pq.write_table(pa.table(table), tmp_path / "f.parquet")
    lists = pa.array([*vectors.astype(np.float32).tolist(), None])
    pq.write_table(pa.table({"emb": lists, "other": lists}), tmp_path / "g.parquet")
    for number, part in enumerate(np.split(vectors, [5])):
        (tmp_path / "retrieval/img_emb").mkdir(parents=True, exist_ok=True)
        (tmp_path / "retrieval/text_emb").mkdir(parents=True, exist_ok=True)
        np.save(tmp_path / f"retrieval/img_emb/img_emb_{number}.npy", part)
        np.save(tmp_path / f"retrieval/text_emb/text_emb_{number}.npy", part + 1)
        (tmp_path / "folder").mkdir(exist_ok=True)
        torch.save(torch.from_numpy(part), tmp_path / f"folder/part{number}.pt")
    forms = [("a.npy", ""), ("b.npz", "l14_img"), ("c.npz", ""), ("d.pt", ""), ("e.pt", "y"), ("f.parquet", "")]
    forms += [("g.parquet", "emb"), ("retrieval", ""), ("folder", "")]
    for name, key in forms:
        np.testing.assert_array_equal(read_vectors(str(tmp_path / name), key), vectors.astype(np.float32), err_msg=name)
    loaded = TargetSet.model_validate(str(tmp_path / "a.npy")).load()
    np.testing.assert_allclose(np.linalg.norm(loaded, axis=1), 1, atol=1e-6)


def test_mistakes_are_named(vectors: Any, tmp_path: Path) -> None:
    def refused(name: str, key: str = "") -> str:
        with pytest.raises(UserError) as error:
            read_vectors(str(tmp_path / name), key)
        return str(error.value)

    np.savez(tmp_path / "two.npz", a=vectors, b=vectors)
    assert "'a', 'b': name one of them as `key`" in refused("two.npz")
    assert "name one of them" in refused("two.npz", "c")
    np.save(tmp_path / "flat.npy", vectors[0])
    assert "shape (8,), not embeddings" in refused("flat.npy")
    np.save(tmp_path / "ids.npy", np.ones((3, 2), np.int64))
    assert "int64" in refused("ids.npy")
    np.save(tmp_path / "nan.npy", np.full((3, 2), np.nan))
    assert "not finite" in refused("nan.npy")
    np.save(tmp_path / "none.npy", vectors[:0])
    assert "no embeddings in" in refused("none.npy")
    assert "there is no such file or folder" in refused("missing.npy")
    (tmp_path / "notes.txt").write_text("x")
    assert "accepted is .npy, .npz" in refused("missing")
    (tmp_path / "mixed").mkdir()
    np.save(tmp_path / "mixed/a.npy", vectors)
    np.save(tmp_path / "mixed/b.npy", vectors[:, :3])
    assert "different sizes" in refused("mixed")


def test_a_pickled_object_is_never_loaded(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "sprung",))

    torch.save({"x": Trap()}, tmp_path / "trap.pt")
    np.save(tmp_path / "trap.npy", np.array([Trap()], dtype=object), allow_pickle=True)
    for name in ("trap.pt", "trap.npy"):
        with pytest.raises(Exception, match=r"[Ww]eights|pickle"):
            read_vectors(str(tmp_path / name))
    assert not (tmp_path / "sprung").exists()


def test_pictures_are_embedded_by_the_named_model(tmp_path: Path, checkpoint: Path, pictures: list[Any]) -> None:
    tar(tmp_path / "set/test/0.tar", [jpeg(picture) for picture in pictures[:4]])
    tar(tmp_path / "set/test/1.tar", [jpeg(picture) for picture in pictures[4:]])
    target = TargetSet(path=str(tmp_path / "set"), model=TINY, pretrained=str(checkpoint), precision="fp32")
    towers = ClipTowers(TINY, str(checkpoint), precision="fp32")
    decoded = [np.asarray(Image.open(io.BytesIO(jpeg(picture)))) for picture in pictures]
    np.testing.assert_allclose(target.load(), towers.embed_images(decoded), atol=2e-3)
    assert target.identity()["precision"] == "fp32"
    assert set(target.identity()) == {"target", "weights", "preprocessing", "precision"}
    with pytest.raises(UserError, match="name the CLIP model"):
        TargetSet(path=str(tmp_path / "set")).load()
    tar(tmp_path / "set/test/1.tar", [b"no picture"])
    with pytest.raises(UserError, match=r"target picture '0000' in .*1\.tar'"):
        target.load()


def test_the_identity_is_that_of_the_contents(vectors: Any, tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        np.save(tmp_path / folder / "a.npy", vectors)
    assert vectors_identity(str(tmp_path / "one")) == vectors_identity(str(tmp_path / "two"))
    assert vectors_identity(str(tmp_path / "one/a.npy")) == vectors_identity(str(tmp_path / "two/a.npy"))
    np.save(tmp_path / "two/a.npy", vectors + 1)
    assert vectors_identity(str(tmp_path / "one")) != vectors_identity(str(tmp_path / "two"))
