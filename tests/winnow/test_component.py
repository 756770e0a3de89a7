import pickle
from typing import ClassVar

import pytest
from pydantic import Field, model_validator

from winnow.component import Component, build, digest, validate
from winnow.errors import UserError, require, unknown


class Inner(Component):
    size: int = Field(default=1, ge=1)


class Outer(Component):
    kind: ClassVar[str] = "outer"
    name: str
    inner: Inner = Inner()


def test_unknown_key_names_the_nearest() -> None:
    with pytest.raises(UserError, match=r"`train\.nmae`: 'nmae'\. Did you mean 'name'\? Accepted: inner, name"):
        validate(Outer, {"nmae": "x"}, "train")


def test_nested_unknown_key_names_the_nearest() -> None:
    with pytest.raises(UserError, match=r"`train\.inner\.siez`.*Did you mean 'size'"):
        validate(Outer, {"name": "x", "inner": {"siez": 2}}, "train")


def test_bad_value_says_what_was_given_and_what_is_accepted() -> None:
    with pytest.raises(UserError, match=r"`train\.inner\.size`.*greater than or equal to 1.*given: 0"):
        validate(Outer, {"name": "x", "inner": {"size": 0}}, "train")


def test_missing_key_is_named() -> None:
    with pytest.raises(UserError, match=r"key `train\.name` is required"):
        validate(Outer, {}, "train")


def test_components_are_frozen_and_pickle() -> None:
    outer = Outer(name="x")
    with pytest.raises(ValueError, match="frozen"):
        outer.name = "y"  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(outer)) == outer


def test_build_by_file_name_and_by_module_path() -> None:
    assert type(build("pipeline.engine.executors", {}, "inline")).__name__ == "Inline"
    assert type(build("pipeline.engine.executors", {"use": "process"}, "mine")).__name__ == "Process"
    named = {"use": "pipeline.engine.executors.inline:Inline"}
    assert type(build("pipeline.engine.executors", named, "mine")).__name__ == "Inline"
    with pytest.raises(UserError, match=r"unknown executor: 'inlin'\. Did you mean 'inline'\? Accepted: inline, "):
        build("pipeline.engine.executors", {}, "inlin")
    with pytest.raises(UserError, match="cannot load 'pipeline:Nothing'"):
        build("pipeline.engine.executors", {"use": "pipeline:Nothing"}, "mine")


def test_digest_ignores_the_order_of_keys_and_nothing_else() -> None:
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    assert digest({"a": 1}) != digest({"a": 2})
    assert digest(Inner()) != digest(Outer(name="x"))
    assert digest(1, 2) != digest(2, 1)


def test_require_names_the_extra() -> None:
    with pytest.raises(UserError, match=r"comes with the extra 'text': pip install 'winnow\[text\]'"):
        require("no_such_module_anywhere", "text")


def test_unknown_without_a_near_name() -> None:
    assert "Did you mean" not in str(unknown("stage", "zzz", ["score"]))


class Holder(Component):
    """An entry that builds another one from a field, as many do."""

    inner: dict[str, int] = Field(default_factory=dict)
    where: str = ""

    @model_validator(mode="after")
    def _check(self) -> "Holder":
        validate(Inner, self.inner, self.where)
        return self


@pytest.mark.parametrize(
    ("where", "section", "expected"),
    [
        ("inner", "score.scorers.mine", "score.scorers.mine.inner.size"),
        ("mine.inner", "score.scorers.mine", "score.scorers.mine.inner.size"),
        ("", "score.scorers.mine", "score.scorers.mine.size"),
        ("score.inner", "score", "score.inner.size"),
        ("source", "ingest", "source.size"),
    ],
)
def test_the_key_of_an_entry_within_an_entry_is_named_once_and_in_full(where: str, section: str, expected: str) -> None:
    with pytest.raises(UserError) as caught:
        validate(Holder, {"inner": {"size": 0}, "where": where}, section)
    assert str(caught.value).startswith(f"key `{expected}`: Input should be greater")
    assert str(caught.value).count("key `") == 1
    with pytest.raises(UserError) as caught:
        validate(Holder, {"inner": {"siez": 0}, "where": where}, section)
    assert str(caught.value).startswith(f"unknown key `{expected.replace('size', 'siez')}`: ")
