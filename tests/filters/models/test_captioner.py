"""A tiny CoCa with random weights writes nonsense, but by the rules."""

from pathlib import Path

import numpy as np
import pytest
import torch

from filters.models.captioner import Captioner, nucleus
from winnow.errors import UserError

TINY = "configs/models/winnow-tiny.json"
UIDS = [f"{i:032x}" for i in range(3)]


@pytest.fixture(scope="module")
def captioner(tiny_coca: tuple[str, str]) -> Captioner:
    return Captioner(*tiny_coca, precision="fp32", threads=1, max_tokens=8)


def test_captions_are_a_function_of_picture_uid_and_seed(
    captioner: Captioner, tiny_coca: tuple, pictures: list
) -> None:
    first = [captioner.captions(uid, picture, 3) for uid, picture in zip(UIDS, pictures, strict=False)]
    assert all(len(captions) == 3 for captions in first)
    assert all(len(set(captions)) > 1 for captions in first)
    backwards = [captioner.captions(UIDS[i], pictures[i], 3) for i in (2, 1, 0)]
    assert first == backwards[::-1]
    torch.manual_seed(7)  # the global generator has no part in it
    assert captioner.captions(UIDS[0], pictures[0], 3) == first[0]
    assert captioner.captions(UIDS[1], pictures[0], 3) != first[0]
    other = Captioner(*tiny_coca, precision="fp32", threads=1, max_tokens=8, seed=1)
    assert other.captions(UIDS[0], pictures[0], 3) != first[0]


def test_logits_are_those_of_the_whole_model(captioner: Captioner, pictures: list) -> None:
    """The step-by-step logits against open_clip's own forward pass over the whole text, the way it trains."""
    tokens = captioner.tokenizer(["a red bird"])[:, :5]
    pixels = captioner.preprocess(pictures[0])[None] * captioner.scale + captioner.shift
    with torch.inference_mode():
        expected = captioner.model(pixels, tokens, output_labels=False)["logits"][:, 3]
        seen = captioner.model(pixels)
        found = captioner._next(pixels, tokens[:, :4], seen["image_features"], seen["image_embs"])
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("least", "most"), [(5, 20), (2, 4), (9, 10)])
def test_lengths_are_in_bounds(
    tiny_coca: tuple, pictures: list, monkeypatch: pytest.MonkeyPatch, least: int, most: int
) -> None:
    captioner = Captioner(*tiny_coca, precision="fp32", threads=1, min_tokens=least, max_tokens=most)
    end = captioner.tokenizer.eot_token_id
    next_logits = captioner._next

    def eager(*args: object) -> torch.Tensor:
        """The model's logits, but every second caption would rather end."""
        logits = next_logits(*args)
        logits[::2, end] = 100
        return logits

    monkeypatch.setattr(captioner, "_next", eager)
    lengths = []
    monkeypatch.setattr(captioner, "_text", lambda row, start, end: lengths.append(row) or "")
    captioner.captions(UIDS[0], pictures[0], 6)
    for number, row in enumerate(lengths):
        assert row[0] == captioner.tokenizer.sot_token_id
        assert len(row) <= most
        assert end not in row[:least]
        if number % 2 == 0 and least < most:
            assert row.index(end) == least


def test_text_ends_at_the_end_token(captioner: Captioner) -> None:
    start, end = captioner.tokenizer.sot_token_id, captioner.tokenizer.eot_token_id
    words = captioner.tokenizer.encode("a red bird")
    assert captioner._text([start, *words, end, words[0]], start, end) == "a red bird"
    assert captioner._text([start, *words], start, end) == "a red bird"
    assert captioner._text([start, end], start, end) == ""


def test_the_nucleus_is_the_smallest_set_that_reaches_p() -> None:
    probabilities = torch.tensor([[0.05, 0.4, 0.15, 0.3, 0.1], [0.01, 0.01, 0.96, 0.01, 0.01]])
    generator = torch.Generator().manual_seed(0)
    for top_p, kept in [
        (0.9, [{1, 3, 2, 4}, {2}]),
        (0.5, [{1, 3}, {2}]),
        (0.39, [{1}, {2}]),
        (1.0, [set(range(5))] * 2),
    ]:
        logits = probabilities.log().repeat(4000, 1)
        drawn = nucleus(logits, top_p, generator).reshape(4000, 2)
        for column, expected in enumerate(kept):
            counts = np.bincount(drawn[:, column], minlength=5) / 4000
            weights = np.array([float(probabilities[column, i]) if i in expected else 0 for i in range(5)])
            np.testing.assert_allclose(counts, weights / weights.sum(), atol=0.04)
            assert not counts[[i for i in range(5) if i not in expected]].any()


def test_a_model_that_writes_nothing_is_refused(checkpoint: Path) -> None:
    with pytest.raises(UserError, match="coca_ViT-B-32"):
        Captioner(TINY, str(checkpoint), precision="fp32", threads=1)
