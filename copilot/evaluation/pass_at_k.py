"""Pass@k, the chance that at least one of k attempts is right: the unbiased estimator of Chen et al. 2021.

With c of n attempts right, a random subset of k has no right one with probability C(n-c, k) / C(n, k)
(arXiv 2107.03374, equation 1).
"""

from math import comb


def pass_at_k(n: int, c: int, k: int) -> float:
    """Unbiased estimate from ``n`` attempts of which ``c`` are right.

    Raises:
        ValueError: Fewer attempts than ``k``, or counts that cannot be.
    """
    if not (0 <= c <= n and 1 <= k <= n):
        raise ValueError(f"pass@{k} of {c} right in {n} attempts")
    return 1.0 - comb(n - c, k) / comb(n, k)
