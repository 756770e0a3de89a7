"""Samples of a shard in decoded batches, one batch ahead: while a model computes, threads read and decode the next."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

from filters.shared_batch import Decoded
from winnow.images import ImageError, decode_image
from winnow.shards import Sample, read_shard
from winnow.storage import Store

__all__ = ["decoded_batches"]


def decoded_batches(store: Store, tar: str, *, batch_size: int, threads: int, images: bool) -> Iterator[list[Decoded]]:
    """Yield the samples of a tar in order; an empty tar is one empty batch.

    Args:
        store: the pool.
        tar: the shard's name in it.
        batch_size: samples in a batch; two batches of decoded pictures are in memory.
        threads: decode threads.
        images: False leaves the pictures alone.
    """
    with (
        store.open(tar) as file,
        ThreadPoolExecutor(threads, "decode") as decoders,
        ThreadPoolExecutor(1, "read") as reader,
    ):
        samples = read_shard(file, tar)

        def load() -> list[Decoded]:
            return list(decoders.map(lambda sample: _decoded(sample, images), islice(samples, batch_size)))

        batch = reader.submit(load).result()
        while True:
            ahead = reader.submit(load)
            yield batch
            if not (batch := ahead.result()):
                return


def _decoded(sample: Sample, images: bool) -> Decoded:
    """Decode one sample."""
    meta, caption, uid = sample.meta, sample.caption, sample.uid
    if not images:
        return Decoded(uid, caption, meta, None)
    if sample.image is None:
        return Decoded(uid, caption, meta, None, "no picture in the sample")
    try:
        return Decoded(uid, caption, meta, decode_image(sample.image))
    except ImageError as error:
        return Decoded(uid, caption, meta, None, str(error))
