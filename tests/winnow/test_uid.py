import hashlib
import uuid

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from winnow.uid import UID, from_hex, make_uid, own_uid, to_arrow, to_hex

HEX = st.lists(st.integers(0, 2**128 - 1).map("{:032x}".format), max_size=20)


@settings(deadline=None)
@given(HEX)
def test_hex_round_trip_and_order(uids):
    array = from_hex(uids)
    assert array.dtype == UID
    assert to_hex(array) == uids
    assert to_hex(np.sort(array)) == sorted(uids)


def test_words_are_the_upper_and_lower_halves():
    (row,) = from_hex(["0123456789abcdef" + "fedcba9876543210"])
    assert tuple(row) == (0x0123456789ABCDEF, 0xFEDCBA9876543210)


def test_saved_arrays_are_datacomps_format(tmp_path):
    np.save(tmp_path / "subset.npy", from_hex(["f" * 32, "0" * 32]))
    loaded = np.load(tmp_path / "subset.npy")
    assert loaded.dtype == np.dtype([("f0", "<u8"), ("f1", "<u8")])
    assert to_hex(loaded) == ["f" * 32, "0" * 32]


@settings(deadline=None)
@given(st.text(), st.text())
def test_made_uids_follow_url_and_text(url, text):
    try:
        expected = hashlib.sha256(f"{url}\0{text}".encode()).hexdigest()[:32]
    except UnicodeEncodeError:
        return
    assert make_uid(url, text) == expected
    assert make_uid(url + "x", text) != expected


@settings(deadline=None)
@given(HEX, st.integers(0, 20), st.integers(0, 20))
def test_arrow_strings_in_any_piece_give_the_same(uids, start, size):
    array, expected = pa.array(uids, pa.string()), from_hex(uids)
    chunked = pa.chunked_array([array[:start], array[start:].cast(pa.large_string()).cast(pa.string())])
    assert from_hex(chunked).tolist() == expected.tolist()
    assert from_hex(array.cast(pa.large_string())[start:]).tolist() == expected[start:].tolist()
    assert from_hex(array.slice(start, size)).tolist() == expected[start : start + size].tolist()
    assert to_arrow(expected).equals(array)
    assert to_arrow(expected[::2]).equals(pa.array(uids[::2], pa.string()))


@pytest.mark.parametrize("bad", ["", "0" * 31, "0" * 33, "g" * 32, "A" * 32, "é" * 16, None])
def test_what_is_no_uid_is_refused(bad):
    for uids in (["0" * 32, bad], pa.array(["0" * 32, bad]), pa.chunked_array([["0" * 32], [bad]], pa.string())):
        with pytest.raises(ValueError, match=r"(?i)32 hexadecimal|non-hexadecimal"):
            from_hex(uids)


def test_numbers_are_no_uids():
    with pytest.raises(ValueError, match="not int64"):
        from_hex(pa.array([1, 2]))


@given(st.uuids())
def test_a_uid_with_dashes_or_in_upper_case_is_the_same_uid(uid: uuid.UUID) -> None:
    assert {own_uid(str(uid)), own_uid(uid.hex.upper()), own_uid(str(uid).upper())} == {uid.hex}
    assert own_uid(f"{uid.hex}0") is None
    assert own_uid(uid) is None
