import pytest

from filters.text.wordmatch import overlap, words


def test_words_are_runs_of_letters_and_digits() -> None:
    assert words("Summer-SALE, summer_sale! 50% of\nＣafe\u0301 123") == {"summer", "sale", "50", "of", "café", "123"}
    assert words(" ...\t") == set()


@pytest.mark.parametrize(
    ("caption", "recognised", "share"),
    [("a b c d", "D, a; x", 0.5), ("a a a b", "A", 0.5), ("", "a", 0.0), ("a", "", 0.0), ("Straße", "STRASSE", 1.0)],
)
def test_overlap_counts_distinct_words_of_the_caption(caption: str, recognised: str, share: float) -> None:
    assert overlap(caption, recognised) == share
