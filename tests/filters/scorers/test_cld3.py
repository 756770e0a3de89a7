import pytest

from filters.scorer import Batch
from filters.scorers.cld3 import Cld3

gcld3 = pytest.importorskip("gcld3")


def detect(*captions: str) -> dict:
    scorer = Cld3()
    scorer.setup()
    return dict(scorer.score(Batch(["0" * 32] * len(captions), list(captions), [{}] * len(captions), [])))


def test_languages_are_told_apart_as_the_package_tells_them() -> None:
    captions = [
        "a dog is running in the park",
        "ein Hund läuft im Garten herum",
        "une maison bleue au bord de la mer",
        "красная птица на ветке дерева",
        "50% OFF",
    ]
    columns = detect(*captions)
    assert columns["language"][:4] == ["en", "de", "fr", "ru"]
    detector = gcld3.NNetLanguageIdentifier(min_num_bytes=0, max_num_bytes=1000)
    for row, caption in enumerate(captions):
        result = detector.FindLanguage(text=caption)
        assert columns["language"][row] == result.language
        assert columns["confidence"][row] == pytest.approx(result.probability)
        assert columns["reliable"][row] == result.is_reliable


def test_newlines_count_as_spaces_and_a_thousand_bytes_are_read() -> None:
    english, russian = "a dog is running in the park ", "красная птица на ветке дерева "
    flat, broken = detect(f"{english}and so on"), detect(f"{english[:-1]}\nand so on")
    assert {name: list(values) for name, values in flat.items()} == {name: list(v) for name, v in broken.items()}
    assert detect(english * 40 + russian * 400)["language"] == ["en"]


def test_a_caption_without_characters_has_no_language() -> None:
    columns = detect("", " \n\t ")
    assert columns["language"] == ["", ""]
    assert columns["confidence"].tolist() == [0, 0]
    assert not columns["reliable"].any()
