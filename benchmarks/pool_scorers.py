"""Pool scorers beside what people write: negCLIPLoss on the full matrix, k-means of scikit-learn and faiss, SemDeDup.

    python benchmarks/pool_scorers.py

All work on the same synthetic embeddings, grouped as real ones are. Printed are the seconds of each way and the memory
that its process took for it, the ratios, and how far the results lie apart. `OMP_NUM_THREADS` sets the threads of all.
"""

import argparse
import multiprocessing
import resource
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from filters.pool_scorers.neg_clip_loss import NegClipLoss
from filters.pool_scorers.semantic_duplicates import SemanticDuplicates
from filters.strategy import Columns
from filters.subset import argsort_uids, hash_uids
from filters.vectors.clustering import Clustered, kmeans, nearest
from winnow.uid import UID

Vectors = NDArray[np.float32]
TAU = 0.01


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num-samples", type=int, default=50_000)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--batch-size", type=int, default=8192, help="of negCLIPLoss")
    parser.add_argument("--shuffles", type=int, default=1, help="of negCLIPLoss")
    parser.add_argument("--num-clusters", type=int, default=200)
    parser.add_argument("--niter", type=int, default=20)
    args = parser.parse_args()
    print(f"{args.num_samples:,} samples of {args.width} numbers")
    for name, ways in WAYS.items():
        rows = {way: _apart(run, args) for way, run in ways.items()}
        own, (seconds, memory, result) = next(iter(rows.items()))
        print(f"\n{name}\n{own:>34}: {seconds:6.1f} s  {memory:6.0f} MiB")
        for way, (other_seconds, other_memory, other) in list(rows.items())[1:]:
            print(f"{way:>34}: {other_seconds:6.1f} s  {other_memory:6.0f} MiB   ", end="")
            print(
                f"ours is {other_seconds / seconds:.2f}x as fast, takes {memory / other_memory:.2f} of the memory; ",
                end="",
            )
            print(COMPARED[name](result, other))


def _apart(
    run: Callable[[argparse.Namespace], tuple[float, Any]], args: argparse.Namespace
) -> tuple[float, float, Any]:
    """Run in a fresh process; return seconds, MiB of memory beyond what it held before the work, and the result."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        measured: tuple[float, float, Any] = pool.apply(_measured, (run, args))
        return measured


def _measured(run: Callable[[argparse.Namespace], tuple[float, Any]], args: argparse.Namespace) -> Any:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds, result = run(args)
    return seconds, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024, result


def _pool(args: argparse.Namespace) -> Columns:
    """Return pictures in groups and captions near them, as float16 like stored ones."""
    rng = np.random.default_rng(0)
    num, width = args.num_samples, args.width
    centers = rng.standard_normal((500, width), np.float32)
    images = centers[rng.integers(0, 500, num)] + rng.standard_normal((num, width), np.float32)
    texts = images + 2 * rng.standard_normal((num, width), np.float32)
    uids = np.empty(num, UID)
    uids["f0"], uids["f1"] = rng.integers(0, 2**64, (2, num), dtype=np.uint64)
    columns = {"clip.image_embedding": images, "clip.text_embedding": texts}
    return Columns(uids, {name: _unit(values).astype(np.float16) for name, values in columns.items()})


def _unit(vectors: Any) -> Vectors:
    vectors = np.asarray(vectors, np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)  # type: ignore[no-any-return]


def ours_neg_clip_loss(args: argparse.Namespace) -> tuple[float, Any]:
    """Run the pool scorer."""
    pool = _pool(args)
    start = time.perf_counter()
    scores = NegClipLoss(tau=TAU, batch_size=args.batch_size, shuffles=args.shuffles).score(pool).columns["score"]
    return time.perf_counter() - start, scores


def naive_neg_clip_loss(args: argparse.Namespace) -> tuple[float, Any]:
    """Write the formula down with NumPy, on the same batches: the full matrix, and logsumexp along both axes."""
    from scipy.special import logsumexp

    pool = _pool(args)
    start = time.perf_counter()
    images, texts = (_unit(pool[f"clip.{side}_embedding"]) for side in ("image", "text"))
    total = np.zeros(len(images))
    for shuffle in range(args.shuffles):
        order = np.argsort(hash_uids(pool.uids, shuffle), kind="stable")
        for begin in range(0, len(order), args.batch_size):
            first = max(0, min(begin, len(order) - args.batch_size))
            rows, new = order[first : begin + args.batch_size], begin - first
            logits = images[rows] @ texts[rows].T / np.float32(TAU)
            logs = logsumexp(logits, axis=1) + logsumexp(logits, axis=0)
            total[rows[new:]] += (np.diag(logits) * TAU - TAU / 2 * logs)[new:]
    return time.perf_counter() - start, total / args.shuffles


def ours_kmeans(args: argparse.Namespace) -> tuple[float, Any]:
    """Run our k-means."""
    import faiss  # noqa: F401 - its import is not the work
    import scipy.sparse  # noqa: F401

    vectors = _unit(_pool(args)["clip.image_embedding"])
    start = time.perf_counter()
    centroids = kmeans(vectors, args.num_clusters, args.niter)
    return time.perf_counter() - start, _error(vectors, centroids)


def faiss_kmeans(args: argparse.Namespace) -> tuple[float, Any]:
    """Run faiss's k-means on all samples, as DataComp does."""
    import faiss

    vectors = _unit(_pool(args)["clip.image_embedding"])
    start = time.perf_counter()
    run = faiss.Kmeans(vectors.shape[1], args.num_clusters, niter=args.niter, seed=0, max_points_per_centroid=10**7)
    run.train(vectors)
    return time.perf_counter() - start, _error(vectors, run.centroids)


def sklearn_kmeans(args: argparse.Namespace) -> tuple[float, Any]:
    """Run scikit-learn's k-means from random rows, so many iterations."""
    from sklearn.cluster import KMeans

    vectors = _unit(_pool(args)["clip.image_embedding"])
    start = time.perf_counter()
    run = KMeans(args.num_clusters, init="random", n_init=1, max_iter=args.niter, tol=0, random_state=0).fit(vectors)
    return time.perf_counter() - start, _error(vectors, run.cluster_centers_)


def _error(vectors: Vectors, centroids: Any) -> float:
    """Return the mean squared distance to the nearest centroid."""
    _, distances = nearest(
        len(vectors), vectors.__getitem__, np.ascontiguousarray(centroids, np.float32), inner_product=False
    )
    return float(distances.mean())


def _semantic(args: argparse.Namespace) -> SemanticDuplicates:
    return SemanticDuplicates(num_clusters=max(args.num_clusters // 20, 1), niter=2)


def ours_semantic_duplicates(args: argparse.Namespace) -> tuple[float, Any]:
    """Run the pool scorer, less its k-means: two iterations."""
    import faiss  # noqa: F401 - its import is not the work
    import scipy.sparse  # noqa: F401

    pool = _pool(args)
    start = time.perf_counter()
    similarity = _semantic(args).score(pool).columns["similarity"]
    return time.perf_counter() - start, similarity


def naive_semantic_duplicates(args: argparse.Namespace) -> tuple[float, Any]:
    """Write the rule down with NumPy, on the same clusters: each cluster's full matrix, and its upper triangle."""
    import faiss  # noqa: F401 - its import is not the work
    import scipy.sparse  # noqa: F401

    pool = _pool(args)
    start = time.perf_counter()
    found = Clustered.clusters(_semantic(args), pool)
    order = argsort_uids(pool.uids)
    vectors = _unit(pool["clip.image_embedding"][order])
    similarity = np.full(len(order), -1, np.float32)
    for cluster in range(len(found.centroids)):
        members = np.flatnonzero(found.ids == cluster)
        rows = members[np.argsort(found.similarity[members], kind="stable")]
        if len(rows) > 1:
            similarity[rows[1:]] = np.triu(vectors[rows] @ vectors[rows].T + 2, k=1).max(axis=0)[1:] - 2
    out = np.empty_like(similarity)
    out[order] = similarity
    return time.perf_counter() - start, out


def _apart_by(ours: Any, theirs: Any) -> str:
    return f"|difference| at most {np.abs(ours - theirs).max():.1e}"


def _errors(ours: float, theirs: float) -> str:
    return f"squared error {ours:.4f} to {theirs:.4f}"


WAYS: dict[str, dict[str, Callable[[argparse.Namespace], tuple[float, Any]]]] = {
    "negCLIPLoss": {"ours": ours_neg_clip_loss, "NumPy, full matrix": naive_neg_clip_loss},
    "k-means": {"ours": ours_kmeans, "faiss.Kmeans": faiss_kmeans, "sklearn.cluster.KMeans": sklearn_kmeans},
    "SemDeDup": {"ours": ours_semantic_duplicates, "NumPy, matrix of a cluster": naive_semantic_duplicates},
}
COMPARED: dict[str, Callable[[Any, Any], str]] = {
    "negCLIPLoss": _apart_by,
    "k-means": _errors,
    "SemDeDup": _apart_by,
}

if __name__ == "__main__":
    main()
