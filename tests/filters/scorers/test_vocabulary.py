from pathlib import Path

import pytest
import timm

from filters.scorer import Batch
from filters.scorers.vocabulary import Vocabulary
from winnow.component import validate
from winnow.errors import UserError

INFO = Path(timm.__file__).parent / "data" / "_info"
DOG, HOT_DOG, FOX = 2084071, 7697537, 2118333  # ImageNet-21k ids, as offsets
STREET = 4334599  # a class of ImageNet-21k alone
SOFA = 1  # an offset of no class


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """WordNet's files with a few words."""
    nouns = {
        "dog": DOG,
        "hot_dog": HOT_DOG,
        "sofa": SOFA,
        "red_fox": FOX,
        "fox": SOFA,
        "dog_sofa": SOFA,
        "street": STREET,
    }
    lines = {
        "noun": [f"{lemma} n 1 1 @ 1 0 {offset:08d}" for lemma, offset in nouns.items()],
        "verb": [f"yaw v 2 0 2 0 {DOG:08d} 00000002", f"walk v 2 0 2 0 00000002 {DOG:08d}"],
        "adj": [],
        "adv": [],
    }
    for name, text in lines.items():
        (tmp_path / f"index.{name}").write_text("\n".join(["  1 licence", *text]) + "\n")
        (tmp_path / f"{name}.exc").write_text("curs dog\n" if name == "noun" else "")
    return tmp_path


def matches(scorer: Vocabulary, *captions: str) -> list[int]:
    scorer.setup()
    columns = scorer.score(Batch(["0" * 32] * len(captions), list(captions), [{}] * len(captions), []))
    assert columns["match"].tolist() == [count > 0 for count in columns["num_matches"]]
    return columns["num_matches"].tolist()


def test_datacomps_rule_and_its_quirks(folder: Path) -> None:
    expected = {
        "a dog": 1,
        "Dogs DOG curs": 3,  # NLTK lowers the case and finds base forms
        "a dog, a (dog) a 'dog'": 0,  # punctuation stays
        "hot dog": 1,  # tokens, not phrases: the animal
        "yaw": 1,  # a verb whose offset is a class's
        "walk sofa": 0,  # the second synset does not count
        "fox": 0,
        "hot_dog": 1,
        "": 0,
        " \n\t": 0,
        "ein Hund": 0,
    }
    assert matches(Vocabulary(wordnet=str(folder), compat=True), *expected) == list(expected.values())


def test_the_corrected_rule_over_wordnet(folder: Path) -> None:
    expected = {
        "A dog, a (DOG) & a 'dog'!": 3,
        "hot dogs": 1,
        "Hot dog dog": 2,
        "yaw walk": 0,  # verbs
        "red fox, fox": 1,
        "dog sofa": 0,  # the longest phrase is no class
        "dog sofas dog": 1,
        "red dog": 1,
        "street": 1,
        "": 0,
        "–… !": 0,
    }
    scorer = Vocabulary(wordnet=str(folder))
    assert matches(scorer, *expected) == list(expected.values())
    assert matches(Vocabulary(wordnet=str(folder), classes="imagenet1k"), "street") == [0]


def test_names_of_the_classes_without_wordnet() -> None:
    expected = {
        "Two dogs, one electric toothbrush!": 2,
        "a hot dog": 1,
        "The Lord’s Supper": 1,
        "this or that": 0,  # OR is the operating room
        "THE OR": 1,
        "A b C": 0,
        "ein Hund": 0,
        "this is not about them": 0,
        "": 0,
    }
    assert matches(Vocabulary(), *expected) == list(expected.values())


def test_every_class_matches_its_own_names() -> None:
    ids = set((INFO / "imagenet_synsets.txt").read_text().split())
    lines = [line.split("\t") for line in (INFO / "imagenet_synset_to_lemma.txt").read_text().splitlines()]
    names = [text.split(", ")[0] for wnid, text in lines if wnid in ids]
    assert len(names) == 1000
    assert min(matches(Vocabulary(classes="imagenet1k"), *[f"photo of a {name}." for name in names])) == 1
    assert min(matches(Vocabulary(), *names)) >= 1


def test_identity_follows_the_words(folder: Path) -> None:
    names, senses = Vocabulary().identity(), Vocabulary(wordnet=str(folder)).identity()
    assert names != senses
    (folder / "noun.exc").write_text("curs dog\ngeese goose\n")
    assert Vocabulary(wordnet=str(folder)).identity() != senses


def test_missing_files_are_named(folder: Path) -> None:
    with pytest.raises(UserError, match=r"vocabulary.*wordnet"):
        validate(Vocabulary, {"compat": True}, "vocabulary")
    (folder / "index.adv").unlink()
    with pytest.raises(UserError, match=r"index\.adv"):
        Vocabulary(wordnet=str(folder)).identity()
