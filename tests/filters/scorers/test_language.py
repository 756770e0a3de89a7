import pytest

from filters.scorer import Batch
from filters.scorers.language import Language


@pytest.fixture(scope="module")
def scorer() -> Language:
    scorer = Language()
    scorer.setup()
    return scorer


def detect(scorer: Language, *captions: str) -> dict:
    n = len(captions)
    return dict(scorer.score(Batch(["0" * 32] * n, list(captions), [{}] * n, [])))


def test_languages_are_told_apart(scorer: Language) -> None:
    captions = {
        "en": "a dog is running in the park",
        "de": "ein Hund läuft im Garten herum",
        "fr": "une maison bleue au bord de la mer",
        "ru": "красная птица на ветке дерева",
    }
    columns = detect(scorer, *captions.values())
    assert columns["language"] == list(captions)
    assert ((columns["confidence"] > 0.5) & (columns["confidence"] <= 1)).all()


def test_newlines_count_as_spaces(scorer: Language) -> None:
    flat, broken = detect(scorer, "ein Hund im Garten"), detect(scorer, "ein Hund\nim\r\nGarten")
    assert flat["language"] == broken["language"] == ["de"]
    assert flat["confidence"] == broken["confidence"]


def test_a_caption_without_characters_has_no_language(scorer: Language) -> None:
    columns = detect(scorer, "", " \n\t ")
    assert columns["language"] == ["", ""]
    assert columns["confidence"].tolist() == [0, 0]
