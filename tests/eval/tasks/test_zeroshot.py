import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eval.heldout.opening import open_heldout
from eval.tasks.zeroshot import ZeroShot, _head
from winnow.errors import UserError


def test_scores_a_set_with_known_answers(colour_classes: Path, colour_embedder: Any) -> None:
    result = ZeroShot(path=str(colour_classes), size=12).evaluate(colour_embedder)
    # the last grey picture carries the label of red: 11 of 12, and red's recall is 3 of 4
    assert result.metrics["acc1"] == result.metrics["main_metric"] == pytest.approx(11 / 12)
    assert result.metrics["acc5"] is None
    assert result.metrics["mean_per_class_recall"] == pytest.approx((3 / 4 + 1 + 1 + 1) / 4)
    assert result.num_samples == 12
    assert result.interval is not None
    assert result.interval.low < 11 / 12 < result.interval.high
    assert np.mean(result.rows["correct"]) == pytest.approx(11 / 12)
    assert [margin > 0 for margin in result.rows["margin"]] == result.rows["correct"]


def test_does_not_depend_on_the_batch(colour_classes: Path, colour_embedder: Any) -> None:
    results = [ZeroShot(path=str(colour_classes), batch_size=size).evaluate(colour_embedder) for size in (5, 256)]
    assert results[0].rows == results[1].rows


def test_head_averages_normalised_prompts(colour_classes: Path, colour_embedder: Any) -> None:
    folder = open_heldout(str(colour_classes))
    head = _head(colour_embedder, folder.class_names(), folder.templates(), folder.path)
    for row, name in zip(head, ("red", "green", "blue", "grey"), strict=True):
        mean = np.mean([colour_embedder.encode_texts([text.format(c=name)])[0] for text in ("a {c} square", "{c}")], 0)
        np.testing.assert_allclose(row, mean / np.linalg.norm(mean), rtol=1e-6)


def test_refuses_a_set_that_is_not_whole(colour_classes: Path, colour_embedder: Any) -> None:
    with pytest.raises(UserError, match="read 12 samples, expected 13"):
        ZeroShot(path=str(colour_classes), size=13).evaluate(colour_embedder)
    (colour_classes / "test" / "1.tar").unlink()
    with pytest.raises(UserError, match=r"1\.tar is missing"):
        ZeroShot(path=str(colour_classes)).evaluate(colour_embedder)


def test_refuses_a_label_beyond_the_classes(colour_classes: Path, colour_embedder: Any) -> None:
    (colour_classes / "classnames.txt").write_text("red\ngreen\nblue")
    with pytest.raises(UserError, match="below 3"):
        ZeroShot(path=str(colour_classes)).evaluate(colour_embedder)


def test_a_blank_class_name_keeps_its_place(colour_classes: Path) -> None:
    (colour_classes / "classnames.txt").write_text("one\n\nthree\n")
    assert open_heldout(str(colour_classes)).class_names() == ["one", "", "three"]


def test_reads_what_others_wrote(colour_classes: Path, colour_embedder: Any, tmp_path: Path) -> None:
    for number in (0, 1):  # the same shards through Python's own tar writer
        old = colour_classes / "test" / f"{number}.tar"
        with tarfile.open(old) as archive:
            archive.extractall(tmp_path / "files", filter="data")
        with tarfile.open(old, "w") as archive:
            for path in sorted((tmp_path / "files").iterdir()):
                archive.add(path, path.name)
                path.unlink()
    assert ZeroShot(path=str(colour_classes)).evaluate(colour_embedder).num_samples == 12
