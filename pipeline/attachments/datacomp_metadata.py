"""DataComp's metadata: parquet with scores and face boxes, CLIP features in an .npz of the same name.

Source: Gadre et al. 2023, DataComp (arXiv 2304.14108). Columns clip_b32_similarity_score, clip_l14_similarity_score,
face_bboxes (list of [x0, y0, x1, y1], shares of width and height), original_width, original_height and sha256 as
published; arrays b32_img, b32_txt (512 numbers), l14_img, l14_txt (768), row by row those of the table.
"""

from typing import ClassVar

from pipeline.attachments._tables import TableAttachment

__all__ = ["DatacompMetadata"]


class DatacompMetadata(TableAttachment):
    """DataComp's scores and features, joined by its uid."""

    with_arrays: ClassVar[bool] = True
