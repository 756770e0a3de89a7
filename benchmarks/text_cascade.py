"""What a gate before text detection saves and what it loses, on a pool that was scored without one.

T-MARS keeps the pairs whose masked similarity reaches a cut; the cut is the unmasked similarity that a fraction of the
pool reaches. With a gate (`only_if` of the scorer `text_boxes`) only pairs whose unmasked similarity reaches a bound
are looked at. Lost are the pairs below the bound that masking lifts to the cut. The table tries bounds below the cut.

    python benchmarks/text_cascade.py POOL --fraction 0.3
"""

import argparse

import numpy as np
from numpy.typing import NDArray

from winnow.columns import read_column_file
from winnow.pool import pool_shards
from winnow.storage import Store


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pool", help="scored pool, a folder or URL")
    parser.add_argument(
        "--fraction", type=float, default=0.3, help="share of the pool whose similarity reaches the cut"
    )
    parser.add_argument("--clip", default="clip", help="key of the clip scorer")
    parser.add_argument("--masked", default="masked_clip", help="key of the masked_clip scorer")
    args = parser.parse_args()

    store = Store(args.pool)
    plain, masked = column(store, args.clip, "similarity"), column(store, args.masked, "similarity")
    has_text = column(store, args.masked, "masked") > 0
    known = ~np.isnan(plain) & ~np.isnan(masked)
    cut = np.sort(plain[known])[::-1][max(0, int(args.fraction * known.sum()) - 1)]
    kept = known & (masked >= cut)
    print(
        f"{len(plain)} rows, {100 * has_text.mean():.1f}% with text; cut {cut:.4f}, {kept.sum()} kept by T-MARS, "
        f"{(kept & (plain < cut)).sum()} of them lifted to it by masking"
    )
    print(f"{'gate below the cut by':>22} {'looked at':>10} {'scored again':>13} {'lost of kept':>20}")
    for margin in (0.0, 0.01, 0.02, 0.03, 0.05, 0.1):
        passes = known & (plain >= cut - margin)
        lost = (kept & ~passes).sum()
        print(
            f"{margin:>22.2f} {100 * passes.mean():>9.1f}% {(passes & has_text).sum():>13} "
            f"{lost:>10} ({100 * lost / max(1, kept.sum()):5.2f}%)"
        )


def column(store: Store, scorer: str, name: str) -> NDArray[np.float64]:
    """Return a column of the whole pool, NaN where it is null."""
    tables = [read_column_file(store, scorer, shard.name) for shard in pool_shards(store)]
    return np.concatenate([np.array(table[name].to_pylist(), dtype=np.float64) for table in tables])


if __name__ == "__main__":
    main()
