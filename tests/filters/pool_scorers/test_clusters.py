from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from filters.pool_scorers.clusters import Clusters
from filters.pool_scorers.prototypes import Prototypes
from filters.pool_scorers.semantic_duplicates import SemanticDuplicates
from filters.pool_scorers.target_clusters import TargetClusters
from filters.strategy import Columns
from filters.vectors.clustering import kmeans
from winnow.errors import UserError


def blobs(num: int, k: int, width: int, spread: float = 0.05, seed: int = 0) -> tuple[Any, Any]:
    """Return (num, width) float32 of length 1 around k directions, and each row's direction."""
    rng = np.random.default_rng(seed)
    which = rng.integers(0, k, num)
    x = rng.standard_normal((k, width))[which] + spread * rng.standard_normal((num, width))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32), which


def test_kmeans_is_lloyds_algorithm(unit: Callable[..., Any]) -> None:
    x, _ = blobs(2000, 6, 12, spread=0.8)
    rng = np.random.default_rng(4)
    naive = x[rng.choice(len(x), 6, replace=False)].astype(np.float64)
    for _ in range(7):
        distances = ((x[:, None, :] - naive[None]) ** 2).sum(2)
        ids = distances.argmin(1)
        naive = np.stack([x[ids == cluster].astype(np.float64).mean(0) for cluster in range(6)])
    np.testing.assert_allclose(kmeans(x, 6, 7, seed=4), naive, atol=1e-5)
    spherical = kmeans(x, 6, 7, seed=4, spherical=True)
    np.testing.assert_allclose(np.linalg.norm(spherical, axis=1), 1, atol=1e-6)


def test_kmeans_does_not_depend_on_the_number_of_threads() -> None:
    x, _ = blobs(20_000, 50, 40, spread=1.0)
    results = [kmeans(x, 40, 6, threads=threads).tobytes() for threads in (1, 2, 3, 7)]
    assert len(set(results)) == 1


def test_kmeans_finds_as_good_clusters_as_faiss() -> None:
    import faiss

    x, _ = blobs(4000, 30, 16, spread=0.6)
    faiss.omp_set_num_threads(1)

    def error(centroids: Any) -> float:
        return float(faiss.knn(x, np.ascontiguousarray(centroids), 1)[0].sum())

    theirs = []
    for seed in range(5):
        peer = faiss.Kmeans(16, 30, niter=20, seed=seed, max_points_per_centroid=10**7)
        peer.train(x)
        theirs.append(error(peer.centroids))
    ours = [error(kmeans(x, 30, 20, seed=seed)) for seed in range(5)]
    assert np.mean(ours) < 1.05 * np.mean(theirs)


def test_empty_clusters_are_filled_by_splitting_large_ones() -> None:
    x = np.repeat(np.eye(4, dtype=np.float32), 50, axis=0)  # four distinct rows, and eight clusters
    centroids = kmeans(x, 8, 10)
    assert np.isfinite(centroids).all()
    found = Clusters(num_clusters=8).score(Columns(uids_of(200), {"clip.image_embedding": x})).columns
    assert len(np.unique(found["id"])) >= 4
    assert len(np.unique(kmeans(np.ones((8, 3), np.float32), 8, 3), axis=0)) <= 8  # nothing to split


def uids_of(num: int) -> Any:
    from winnow.uid import from_hex

    return from_hex(f"{n * 7919:032x}" for n in range(num))


def test_samples_go_to_the_centroid_of_highest_inner_product(pool: Columns, unit: Callable[..., Any]) -> None:
    scores = Clusters(num_clusters=9, niter=5).score(pool)
    centroids = scores.arrays["centroids"]
    products = unit(pool["clip.image_embedding"]) @ centroids.T
    np.testing.assert_array_equal(scores.columns["id"], products.argmax(1))
    cosine = products.max(1) / np.linalg.norm(centroids, axis=1)[products.argmax(1)]
    np.testing.assert_allclose(scores.columns["similarity"], cosine, atol=1e-6)
    assert scores.columns["id"].dtype == np.int32


def test_well_separated_groups_are_found(uids: Callable[[int], Any]) -> None:
    x, which = blobs(600, 4, 32)
    ids = Clusters(num_clusters=4, seed=1).score(Columns(uids(600), {"clip.image_embedding": x})).columns["id"]
    assert len(np.unique(np.stack([ids, which]), axis=1).T) == len(np.unique(ids))  # a cluster lies in one group


def test_a_sample_of_the_pool_is_drawn_by_uid_and_all_are_assigned(pool: Columns, cut: Callable[..., Any]) -> None:
    some = Clusters(num_clusters=5, sample_ratio=0.3, seed=2)
    assert len(some.score(pool).columns["id"]) == 300
    full = Clusters(num_clusters=5, seed=2)
    few = Clusters(num_clusters=5, seed=2, max_points_per_centroid=18)  # 90 of 300, too
    assert some.score(pool).arrays["centroids"].tobytes() == few.score(pool).arrays["centroids"].tobytes()
    assert some.score(pool).arrays["centroids"].tobytes() != full.score(pool).arrays["centroids"].tobytes()
    moved = cut(pool, np.arange(300)[::-1], (50,))
    assert some.score(moved).arrays["centroids"].tobytes() == some.score(pool).arrays["centroids"].tobytes()


def test_given_centroids_are_used_as_they_are(pool: Columns, tmp_path: Path, unit: Callable[..., Any]) -> None:
    given = np.random.default_rng(8).standard_normal((11, 16)).astype(np.float32)
    np.savez(tmp_path / "centroids.npz", given)
    scorer = Clusters(centroids=str(tmp_path / "centroids.npz"))  # 100,000 clusters do not matter then
    expected = (unit(pool["clip.image_embedding"]) @ given.T).argmax(1)
    np.testing.assert_array_equal(scorer.score(pool).columns["id"], expected)
    before = scorer.identity()
    np.savez(tmp_path / "centroids.npz", given + 1)
    assert scorer.identity() != before
    np.savez(tmp_path / "centroids.npz", given[:, :5])
    with pytest.raises(UserError, match=r"centroids in .* are of 5 numbers"):
        scorer.score(pool)


def test_too_many_clusters_are_refused_with_a_number_that_fits(pool: Columns) -> None:
    with pytest.raises(UserError, match=r"`num_clusters` is 100,000.*300 samples only; set it to 3"):
        Clusters().score(pool)


def test_target_clusters_is_datacomps_image_based_rule(pool: Columns, tmp_path: Path, unit: Callable[..., Any]) -> None:
    rng = np.random.default_rng(9)
    given, target = rng.standard_normal((20, 16)).astype(np.float32), rng.standard_normal((6, 16)).astype(np.float32)
    np.save(tmp_path / "centroids.npy", given)
    np.save(tmp_path / "target.npy", target)
    # as coded: the ids of the target's argmax centroids, then a look-up of each sample's
    hits = {int((given @ row).argmax()) for row in target}
    expected = [int((given @ row).argmax()) in hits for row in unit(pool["clip.image_embedding"])]
    scorer = TargetClusters(centroids=str(tmp_path / "centroids.npy"), target=str(tmp_path / "target.npy"))
    found = scorer.score(pool).columns["hit"]
    np.testing.assert_array_equal(found, expected)
    assert 0 < found.sum() < 300
    assert set(scorer.identity()) == {"centroids", "target"}


def test_prototypes_are_the_statistics_of_dbp(pool: Columns, unit: Callable[..., Any]) -> None:
    x = unit(pool["clip.image_embedding"])
    found = Prototypes(num_clusters=6, num_neighbors=3, niter=5).score(pool).columns
    centroids = unit(Clusters(num_clusters=6, niter=5, spherical=True).score(pool).arrays["centroids"])
    ids = (x @ centroids.T).argmax(1)
    np.testing.assert_array_equal(found["cluster"], ids)
    for cluster in np.unique(ids):
        members = ids == cluster
        intra = np.mean([1 - row @ centroids[cluster] for row in x[members]])
        others = sorted(1 - centroids[cluster] @ other for c, other in enumerate(centroids) if c != cluster)
        np.testing.assert_allclose(found["intra"][members], intra, atol=1e-6)
        np.testing.assert_allclose(found["inter"][members], np.mean(others[:3]), atol=1e-6)
    np.testing.assert_allclose(found["similarity"], (x * centroids[ids]).sum(1), atol=1e-6)
    alone = Prototypes(num_clusters=1).score(pool).columns
    assert set(alone["inter"]) == {0.0}


@pytest.mark.parametrize("keep", ["hard", "easy"])
def test_semantic_duplicates_is_the_rule_of_semdedup(pool: Columns, unit: Callable[..., Any], keep: Any) -> None:
    x = unit(pool["clip.image_embedding"])
    found = SemanticDuplicates(num_clusters=4, niter=5, keep=keep).score(pool).columns["similarity"]
    centroids = unit(Clusters(num_clusters=4, niter=5, spherical=True).score(pool).arrays["centroids"])
    ids = (x @ centroids.T).argmax(1)
    for cluster in np.unique(ids):
        distance = 1 - x @ centroids[cluster]
        rows = sorted(
            np.flatnonzero(ids == cluster), key=lambda row: -distance[row] if keep == "hard" else distance[row]
        )
        assert found[rows[0]] == -1
        for place, row in enumerate(rows[1:], start=1):
            assert found[row] == pytest.approx(max(x[row] @ x[other] for other in rows[:place]), abs=2e-6)


def test_of_two_equal_pictures_one_is_kept(pool: Columns) -> None:
    for keep in ("hard", "easy", "random"):
        similarity = SemanticDuplicates(num_clusters=4, niter=5, keep=keep).score(pool).columns["similarity"]
        for pair in ([10, 11], [20, 21]):
            assert (similarity[pair] > 0.999).sum() == 1, keep
    assert (SemanticDuplicates(num_clusters=4, niter=5, keep="random", seed=1).score(pool).columns["similarity"]).any()


def test_large_clusters_are_compared_in_blocks(monkeypatch: pytest.MonkeyPatch, pool: Columns) -> None:
    import filters.pool_scorers.semantic_duplicates as module

    scorer = SemanticDuplicates(num_clusters=2, niter=3)
    expected = scorer.score(pool).columns["similarity"]
    monkeypatch.setattr(module, "ROWS", 17)
    np.testing.assert_allclose(scorer.score(pool).columns["similarity"], expected, atol=1e-6)
