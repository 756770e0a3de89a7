"""The reader against NLTK where it and its corpus are installed, and on a small database written by hand."""

import zipfile
from pathlib import Path

import pytest

from filters.text.wordnet import WordNet, base_forms
from winnow.errors import UserError

INDEX = {
    "noun": """\
  1 This software and database is being provided to you
bank n 3 4 @ ~ #m ; 3 1 00000111 00000112 00000113
dog n 1 1 @ 1 1 00000121
goose n 1 0 1 0 00000131
gees n 1 0 1 0 00000132
class n 1 0 1 0 00000141
box n 1 0 1 0 00000151
woman n 1 0 1 0 00000161
hot_dog n 2 1 @ 2 0 00000171 00000121
run n 1 0 1 0 00000181
""",
    "verb": "run v 1 0 1 0 00000281\nmake v 1 0 1 0 00000121\nbank v 1 0 1 0 00000211\n",
    "adj": "fine a 1 0 1 0 00000301\n",
    "adv": "well r 1 0 1 0 00000401\n",
}
EXCEPTIONS = {"noun": "geese goose\nunknowns nothing\n", "verb": "ran run\n", "adj": "better good\n", "adv": ""}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in INDEX:
        (tmp_path / f"index.{name}").write_text(INDEX[name])
        (tmp_path / f"{name}.exc").write_text(EXCEPTIONS[name])
    return tmp_path


def test_first_senses_by_hand(folder: Path) -> None:
    wordnet = WordNet(folder)
    expected = {
        "bank": ("n", 111),  # the first of three senses; nouns come before verbs
        "DOGS": ("n", 121),
        "geese": ("n", 131),  # by the exceptions; the rules would find "gees"
        "classes": ("n", 141),
        "boxes": ("n", 151),
        "women": ("n", 161),
        "hot_dogs": ("n", 171),
        "runs": ("n", 181),
        "ran": ("v", 281),
        "making": ("v", 121),
        "finest": ("a", 301),
        "well": ("r", 401),
        "dog,": None,
        "better": None,  # the exception's base form is unknown
        "unknowns": None,
        "": None,
    }
    assert {word: wordnet.first_synset(word) for word in expected} == expected
    assert wordnet.first_synset("ran", "n") is None


def test_endings_are_detached_again_only_when_nothing_is_known() -> None:
    assert base_forms("dogss", {"dog"}) == ["dog"]
    assert base_forms("dogs", {"dogs", "dog"}) == ["dogs", "dog"]
    assert base_forms("dogss", {"dogs", "dog"}) == ["dogs"]
    assert base_forms("xyz", {"dog"}) == []


def test_a_missing_file_says_where_wordnet_is_found(folder: Path) -> None:
    (folder / "verb.exc").unlink()
    with pytest.raises(UserError, match=r"no 'verb\.exc'.*wordnet-base"):
        WordNet(folder)


def test_first_senses_are_those_of_nltk(tmp_path: Path) -> None:
    nltk = pytest.importorskip("nltk")
    try:
        root = nltk.data.find("corpora/wordnet")
    except LookupError:
        try:
            with zipfile.ZipFile(nltk.data.find("corpora/wordnet.zip")) as archive:
                archive.extractall(tmp_path)
        except LookupError:
            pytest.skip("NLTK's corpus wordnet is not installed")
        root = tmp_path / "wordnet"
    reference = nltk.corpus.reader.WordNetCorpusReader(str(root), None)
    wordnet = WordNet(Path(str(root)))
    lemmas = sorted({lemma for lemmas in wordnet.first.values() for lemma in lemmas})[::50]
    words = [lemma + ending for lemma in lemmas for ending in ("", "s", "es", "ed", "ing", "er", ",")]
    words += [form for forms in wordnet.irregular.values() for form in sorted(forms)[::3]]
    assert len(words) > 15_000
    for word in words:
        synsets = reference.synsets(word)
        expected = (synsets[0].pos().replace("s", "a"), synsets[0].offset()) if synsets else None
        assert wordnet.first_synset(word) == expected, word
