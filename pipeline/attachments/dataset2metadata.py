"""What dataset2metadata writes: <md5>.parquet and <md5>.npz for every list of tars it was given.

Source: mlfoundations/dataset2metadata a16f41b (MIT): its native column and feature names, and those of DataComp that
its flag use_datacomp_keys writes; detector plug-ins add text-boxes and text-ocr.
"""

from collections.abc import Mapping
from typing import ClassVar

from pipeline.attachments._tables import TableAttachment

__all__ = ["Dataset2metadata"]


class Dataset2metadata(TableAttachment):
    """Its columns and features under DataComp's names, whichever of the two namings was written.

    The rows are told by what was among its `additional_fields`: uid, or url and caption, or key.
    """

    with_arrays: ClassVar[bool] = True
    renamed: ClassVar[Mapping[str, str]] = {
        "oai-clip-vit-b32-score": "clip_b32_similarity_score",
        "oai-clip-vit-l14-score": "clip_l14_similarity_score",
        "oai-clip-vit-b32-image": "b32_img",
        "oai-clip-vit-b32-text": "b32_txt",
        "oai-clip-vit-l14-image": "l14_img",
        "oai-clip-vit-l14-text": "l14_txt",
        "face-boxes": "face_bboxes",
        "nsfw-detoxify-score": "nsfw_detoxify_score",
        "nsfw-image-score": "nsfw_image_score",
        "dedup-isc-ft-v107-score": "dedup_isc_ft_v107_score",
        "dedup-isc-ft-v107-image": "dedup_isc_ft_v107_image",
        "text-boxes": "text_boxes",
        "text-ocr": "text_ocr",
    }
