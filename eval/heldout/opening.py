"""Find out in which layout a held-out set lies."""

from eval.heldout.captions_table import TABLES, CaptionsTable
from eval.heldout.example import Decode, HeldOut
from eval.heldout.image_folder import ImageFolder
from eval.heldout.labelled_parquet import LabelledParquet, parquet_files
from eval.heldout.wds import WdsSet
from winnow.errors import UserError
from winnow.storage import Store

__all__ = ["open_heldout"]


def open_heldout(path: str, decode: Decode = "viewer") -> HeldOut:
    """Open a wds folder, a parquet file or folder of them, a table of captions, or a folder of class folders.

    Args:
        path: the folder, or the file itself for parquet and tables.
        decode: how pictures and caption lines are read.

    Raises:
        UserError: it is none of these.
    """
    if path.endswith(".parquet"):
        return LabelledParquet(path, decode)
    if path.endswith((".csv", ".tsv", ".txt")):
        return CaptionsTable(path, decode)
    store = Store(path)
    wds = ("test/nshards.txt", "dataset_type.txt", "test/0.tar")
    if any(store.exists(name) for name in wds) or not store.exists(""):
        return WdsSet(path, decode)
    if parquet_files(store):
        return LabelledParquet(path, decode)
    for name in TABLES:
        if store.exists(name):
            return CaptionsTable(f"{path.rstrip('/')}/{name}", decode)
    folder = ImageFolder(path, decode)
    if folder.pictures:
        return folder
    raise UserError(
        f"{path!r} holds no test set: accepted are a wds folder of CLIP_benchmark (test/nshards.txt, test/0.tar, ...), "
        f"parquet files, a table of captions ({', '.join(TABLES)}) and folders of pictures (class/picture.jpg)"
    )
