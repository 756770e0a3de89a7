"""Subsets: sorted arrays of uids on disk in DataComp's format, with set algebra; a repeated uid means oversampling.

Source: Gadre et al. 2023, DataComp (arXiv 2304.14108), what `apply_filter` writes and `resharder` reads: dtype "u8,u8"
(upper and lower 64 bits), sorted by both, as .npy or as the bare array.
"""

import io
from collections.abc import Sequence
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from winnow.errors import UserError
from winnow.uid import UID

__all__ = [
    "argsort_uids",
    "contains",
    "counts",
    "draw",
    "hash_uids",
    "intersect",
    "minus",
    "precedes",
    "read_subset",
    "sample",
    "save_subset",
    "subset_of",
    "union",
    "unique",
    "write_subset",
]

_MAGIC = b"\x93NUMPY"
_RANGES = 64


def subset_of(uids: NDArray[np.void], count: NDArray[Any] | None = None) -> NDArray[np.void]:
    """Return the subset that holds each uid `count` times.

    Args:
        uids: (n,) dtype "u8,u8", in any order.
        count: (n,) non-negative integers; once each if None.

    Returns:
        (sum of count,) dtype "u8,u8", sorted.
    """
    repeated = uids if count is None else np.repeat(uids, count)
    return repeated[argsort_uids(repeated)]


def write_subset(subset: NDArray[np.void]) -> bytes:
    """Return the .npy file of a subset.

    Raises:
        ValueError: the array is not sorted or not of dtype "u8,u8"; DataComp's reader would silently miss samples.
    """
    if subset.dtype != UID or not _is_sorted(subset):
        raise ValueError("a subset is a sorted array of dtype 'u8,u8'; make it with subset_of()")
    buffer = io.BytesIO()
    np.save(buffer, subset)
    return buffer.getvalue()


def save_subset(file: IO[bytes], parts: Sequence[NDArray[np.void]]) -> int:
    """Write the .npy file of a subset that is the union of sorted parts, repeats kept, and return its size.

    A range of uids is merged at a time, so that little memory is needed beside the parts.
    """
    size = sum(map(len, parts))
    header = np.lib.format.header_data_from_array_1_0(np.zeros(0, UID)) | {"shape": (size,)}
    np.lib.format.write_array_header_1_0(file, header)
    bounds = np.arange(1, _RANGES, dtype=np.uint64) * np.uint64(2**64 // _RANGES)
    edges = [[0, *np.searchsorted(part["f0"], bounds), len(part)] for part in parts]
    for place in range(_RANGES):
        pieces = [part[edge[place] : edge[place + 1]] for part, edge in zip(parts, edges, strict=True)]
        file.write(subset_of(np.concatenate([np.zeros(0, UID), *pieces])).tobytes())
    return size


def read_subset(data: bytes, name: str = "subset") -> NDArray[np.void]:
    """Read a subset file: .npy, or the bare array that `np.memmap` users write.

    Args:
        data: the content of the file.
        name: what to call it in an error.

    Raises:
        UserError: no such array, or not sorted.
    """
    if data.startswith(_MAGIC):
        try:
            subset: NDArray[np.void] = np.load(io.BytesIO(data))
        except ValueError as error:  # cut short, or pickled objects
            raise UserError(f"{name} is no subset: {error}") from None
    elif len(data) % UID.itemsize == 0:
        subset = np.frombuffer(data, dtype=UID)
    else:
        raise UserError(f"{name} is no subset: {len(data)} bytes, neither a .npy file nor rows of 16 bytes")
    if subset.dtype != UID or subset.ndim != 1:
        raise UserError(f"{name} is no subset: dtype {subset.dtype}, shape {subset.shape}; DataComp's is 'u8,u8', (n,)")
    if not _is_sorted(subset):
        raise UserError(f"{name} is not sorted by uid: a search in it would miss samples; sort it and save again")
    return subset


def argsort_uids(uids: NDArray[np.void]) -> NDArray[np.intp]:
    """Return the stable order that sorts uids; equal uids keep their order.

    Sorting the high words and then only the few ties is several times faster than NumPy's sort of a structured array.
    """
    order = np.argsort(uids["f0"], kind="stable")
    high = uids["f0"][order]
    equal = high[1:] == high[:-1]
    tied = np.flatnonzero(np.append(equal, False) | np.append(False, equal))
    if len(tied):
        rows = order[tied]
        order[tied] = rows[np.lexsort((uids["f1"][rows], uids["f0"][rows]))]
    return order


def counts(subset: NDArray[np.void], uids: NDArray[np.void]) -> NDArray[np.int64]:
    """Return (n,) how often each of n uids is in the subset."""
    high, low = np.ascontiguousarray(subset["f0"]), np.ascontiguousarray(subset["f1"])
    found = np.zeros(len(uids), dtype=np.int64)
    rows = np.argsort(uids["f0"])  # in order, neighbouring searches touch neighbouring memory
    place = np.searchsorted(high, uids["f0"][rows])
    # Walk on through the run of equal high words: almost always one step, as they are random, and one more a repeat.
    while len(rows):
        rows, place = rows[place < len(high)], place[place < len(high)]
        same = high[place] == uids["f0"][rows]
        rows, place = rows[same], place[same]
        found[rows] += low[place] == uids["f1"][rows]
        place = place + 1
    return found


def contains(subset: NDArray[np.void], uids: NDArray[np.void]) -> NDArray[np.bool_]:
    """Return (n,) whether each of n uids is in the subset."""
    return counts(subset, uids) > 0


def intersect(first: NDArray[np.void], *others: NDArray[np.void]) -> NDArray[np.void]:
    """Return what is in every subset; a uid as often as in the subset that holds it least often."""
    return _merge((first, *others), np.minimum)


def union(first: NDArray[np.void], *others: NDArray[np.void]) -> NDArray[np.void]:
    """Return what is in any subset; a uid as often as in the subset that holds it most often."""
    return _merge((first, *others), np.maximum)


def minus(first: NDArray[np.void], other: NDArray[np.void]) -> NDArray[np.void]:
    """Return what is in `first` and not in `other`, however often it is there."""
    return first[~contains(other, first)]


def sample(subset: NDArray[np.void], size: int, seed: int = 0) -> NDArray[np.void]:
    """Return `size` distinct uids drawn by hash of uid and seed, whatever their place.

    Args:
        subset: sorted, repeats count once.
        size: in [0, number of distinct uids].
        seed: another seed draws others.

    Raises:
        UserError: there are fewer distinct uids.
    """
    distinct = unique(subset)
    if not 0 <= size <= len(distinct):
        raise UserError(f"cannot draw {size} of {len(distinct)} distinct uids without repeating any")
    return distinct[draw(distinct, size, seed)]


def draw(uids: NDArray[np.void], size: int, seed: int = 0) -> NDArray[np.bool_]:
    """Mark the `size` uids with the lowest hashes; should hashes tie, the lower uid comes first.

    Args:
        uids: (n,) distinct, in any order.
        size: in [0, n].
        seed: another seed draws others.
    """
    drawn = np.zeros(len(uids), dtype=bool)
    if size:
        hashes = hash_uids(uids, seed)
        cut = np.partition(hashes, size - 1)[size - 1]
        drawn = hashes < cut
        ties = np.flatnonzero(hashes == cut)
        drawn[ties[argsort_uids(uids[ties])[: size - int(drawn.sum())]]] = True
    return drawn


def precedes(hashes: NDArray[np.uint64], uids: NDArray[np.void], last: tuple[int, int, int]) -> NDArray[np.bool_]:
    """Mark the (n,) rows whose (hash, upper word, lower word) is at most `last`, all of them one after the other."""
    if last[0] < 0:
        return np.zeros(len(hashes), dtype=bool)
    cut, high, low = (np.uint64(word) for word in last)
    keep: NDArray[np.bool_] = hashes < cut
    ties = np.flatnonzero(hashes == cut)
    f0, f1 = uids["f0"][ties], uids["f1"][ties]
    keep[ties] = (f0 < high) | ((f0 == high) & (f1 <= low))
    return keep


def hash_uids(uids: NDArray[np.void], seed: int = 0) -> NDArray[np.uint64]:
    """Return (n,) uniform uint64 hashes of uid and seed: random order that depends on no position.

    Source: the finaliser of SplitMix64 (Steele et al. 2014), chained over seed, upper and lower word.
    """
    state = _mix(np.uint64(seed % 2**64) ^ np.zeros(len(uids), dtype=np.uint64))
    return _mix(_mix(state ^ uids["f0"]) ^ uids["f1"])


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Scramble 64-bit words, a bijection; arithmetic wraps."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _merge(subsets: Sequence[NDArray[np.void]], combine: np.ufunc) -> NDArray[np.void]:
    """Combine the counts of every uid that is anywhere."""
    distinct = unique(subset_of(np.concatenate(subsets)))
    total = counts(subsets[0], distinct)
    for other in subsets[1:]:
        total = combine(total, counts(other, distinct))
    return np.repeat(distinct, total)


def unique(subset: NDArray[np.void]) -> NDArray[np.void]:
    """Return each uid of a sorted array once."""
    fresh = np.ones(len(subset), dtype=bool)
    fresh[1:] = subset[1:] != subset[:-1]
    return subset[fresh]


def _is_sorted(subset: NDArray[np.void]) -> bool:
    """Tell whether uids ascend, equal neighbours allowed."""
    high, low = subset["f0"], subset["f1"]
    ascends = (high[:-1] < high[1:]) | ((high[:-1] == high[1:]) & (low[:-1] <= low[1:]))
    return bool(ascends.all())
