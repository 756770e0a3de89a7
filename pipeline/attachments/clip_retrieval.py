"""What `clip-retrieval inference` writes: img_emb/, text_emb/ and metadata/, numbered alike and aligned row by row.

Source: rom1504/clip-retrieval b055335 (MIT): img_emb_N.npy and text_emb_N.npy (float16, of length 1), and
metadata_N.parquet with image_path (the key of a WebDataset sample), caption and the fields of the sample's json.
"""

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.implementations.local import LocalFileSystem
from numpy.typing import NDArray

from pipeline.attachment import IDENTITY, Attachment, By, Piece, identify_by, identities
from pipeline.attachments._tables import arrow
from pipeline.pools.tabular import Found, find_files, known_columns
from winnow.errors import UserError

__all__ = ["ClipRetrieval"]

FOLDERS = {"image_embedding": "img_emb", "text_embedding": "text_emb"}
"""Column -> its folder and the start of its files' names."""
_NUMBER = re.compile(r"metadata_(\d+)\.parquet$")


class ClipRetrieval(Attachment):
    """Columns `image_embedding`, `text_embedding` (float16 lists) and, where both are there, `similarity` (float32).

    `path` is the output folder. `columns` takes fields of its metadata along: {aesthetic: aesthetic_score}.
    """

    def files(self) -> Found:
        """Return the metadata files by number."""
        found = find_files(f"{self.path.rstrip('/')}/metadata", "attach.path", (".parquet",))
        paths = [path for path in found.paths if _NUMBER.search(path)]
        return Found(found.fs, tuple(sorted(paths, key=lambda path: int(_NUMBER.search(path)[1]))))  # type: ignore[index]

    def identity(self) -> By:
        """Return what tells the rows, as the first file has it."""
        found = self.files()
        with found.open(found.paths[0]) as file:
            return identify_by(self.by, pq.read_schema(file).names, found.paths[0])

    def pieces(self) -> Iterator[Piece]:
        """Yield a piece per numbered file."""
        found, by = self.files(), self.identity()
        for path in found.paths:
            with found.open(path) as file:
                table = pq.ParquetFile(file)
                names = table.schema_arrow.names
                known = known_columns(names)
                wanted = self.choose(names, path) if self.columns else {}
                told_by = table.read(columns=[known[name] for name in IDENTITY[by]]).rename_columns(IDENTITY[by])
                fields = table.read(columns=list(wanted.values())).rename_columns(list(wanted)) if wanted else None
            ids, told = identities(by, told_by)
            yield _piece(found, path, ids, np.flatnonzero(told), fields)


def _piece(found: Found, path: str, ids: NDArray[np.void], rows: NDArray[np.intp], fields: pa.Table | None) -> Piece:
    """Return one numbered file's rows."""

    def load(numbers: NDArray[np.intp]) -> pa.Table:
        chosen = rows[numbers]
        vectors = {column: _vectors(found, path, column, len(ids)) for column in FOLDERS}
        picked = {column: values[chosen] for column, values in vectors.items() if values is not None}
        if not picked:
            raise UserError(f"neither img_emb nor text_emb stands beside {path!r}")
        columns = {column: arrow(values) for column, values in picked.items()}
        if len(picked) == len(FOLDERS):
            image, text = (picked[column].astype(np.float32) for column in FOLDERS)
            columns["similarity"] = pa.array(np.einsum("nd,nd->n", image, text))
        if fields is not None:
            taken = fields.take(pa.array(chosen))
            columns |= {name: taken[name] for name in taken.column_names}
        return pa.table(columns)

    return Piece(ids[rows], load, path)


def _vectors(found: Found, path: str, column: str, num_rows: int) -> NDArray[Any] | None:
    """Return the embeddings beside a metadata file, mapped rather than read where the disk is local.

    Raises:
        UserError: there are more or fewer than rows.
    """
    folder = FOLDERS[column]
    top, _, name = path.rpartition("/metadata/metadata_")
    npy = f"{top}/{folder}/{folder}_{name.removesuffix('.parquet')}.npy"
    if not found.fs.exists(npy):
        return None
    if isinstance(found.fs, LocalFileSystem):
        values = np.load(npy, mmap_mode="r", allow_pickle=False)
    else:
        with found.open(npy) as file:
            values = np.load(file, allow_pickle=False)
    if len(values) != num_rows:
        raise UserError(f"{path!r} has {num_rows} rows, {npy!r} has {len(values)}")
    return values  # type: ignore[no-any-return]
