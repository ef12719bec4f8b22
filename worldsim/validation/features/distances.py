"""Distances between two sets of features: Frechet's, and that of a polynomial kernel.

The Frechet distance of few samples is biased upwards, since their covariances are too small in
all directions but a few (Chong and Forsyth, 1911.07023). Two figures of it compare only at equal
counts. The kernel's has no bias (Binkowski et al., 1801.01401, section 3).

Legend: n, m samples, D features, E episodes, B draws.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from worldsim.errors import UsageError

Float = NDArray[np.float64]
Whole = NDArray[np.int64]


def frechet_distance(
    x: Float, y: Float, x_counts: Float | None = None, y_counts: Float | None = None
) -> float:
    """Squared Frechet distance of the normal distributions that fit two sets best.

    |mean x - mean y|^2 + tr(Sx + Sy - 2 (Sx Sy)^(1/2)), with unbiased covariances (Heusel et al.,
    1706.08500, section 2, and Unterthiner et al., 1812.01717). With Sx = A A^T and Sy = B B^T, the
    trace of the root is the sum of the singular values of A^T B. So no root of a matrix is taken,
    which would be singular wherever there are fewer samples than features.

    Args:
        x: `[n, D]`.
        y: `[m, D]`.
        x_counts: `[n]` how often each sample counts; None counts each once.
        y_counts: `[m]`, likewise.

    Returns:
        NaN where a set counts fewer than two samples.

    Raises:
        UsageError: shapes do not fit.
    """
    _check(x, y)
    parts = [_spread(x, x_counts), _spread(y, y_counts)]
    if any(part is None for part in parts):
        return float("nan")
    (x_mean, a), (y_mean, b) = (part for part in parts if part is not None)
    root = np.linalg.svd(a @ b.T, compute_uv=False).sum()
    apart = np.square(x_mean - y_mean).sum()
    return max(0.0, float(apart + np.square(a).sum() + np.square(b).sum() - 2.0 * root))


def _spread(x: Float, counts: Float | None) -> tuple[Float, Float] | None:
    """Mean `[D]`, and a matrix `[<= D, D]` whose square is the covariance; None of one sample."""
    weights = np.ones(len(x)) if counts is None else counts
    x, weights = x[weights > 0], weights[weights > 0]
    if (total := weights.sum()) < 2:
        return None
    mean: Float = weights @ x / total
    root: Float = np.sqrt(weights / (total - 1))[:, None] * (x - mean)
    if len(root) > x.shape[1]:
        root = np.asarray(np.linalg.qr(root, mode="r"), np.float64)
    return mean, root


def polynomial_kernel(x: Float, y: Float) -> Float:
    """(x . y / D + 1)^3 of each pair, `[n, m]` (1801.01401, section 4)."""
    kernel: Float = (x @ y.T / x.shape[1] + 1.0) ** 3
    return kernel


def kernel_distance(x: Float, y: Float) -> float:
    """Unbiased squared maximum mean discrepancy of two sets that know nothing of each other.

    The estimator of published KID figures (1801.01401, equation 4), of all samples at once.

    Raises:
        UsageError: shapes do not fit, or a set has fewer than two samples.
    """
    _check(x, y)
    if min(len(x), len(y)) < 2:
        raise UsageError(f"a kernel distance needs two samples of each; got {len(x)} and {len(y)}")

    def within(z: Float) -> float:
        kernel = polynomial_kernel(z, z)
        return float((kernel.sum() - np.trace(kernel)) / (len(z) * (len(z) - 1)))

    return within(x) + within(y) - 2.0 * float(polynomial_kernel(x, y).mean())


@dataclass(frozen=True, eq=False)
class KernelSums:
    """Kernel distance of sets whose samples come from the same E episodes.

    An imagined clip and the recorded one of its episode are alike for that alone, and so are
    frames of one clip. Pairs within an episode are therefore left out, those across the two sets
    too. That is unbiased for paired sets (Gretton et al., JMLR 13, 2012, equation 4), and 0 where
    the sets are equal.

    Attributes:
        xx: `[E, E]` sums of the kernel over pairs of samples of two episodes.
        yy: likewise.
        xy: likewise, x first.
        x_counts: `[E]` samples of each episode.
        y_counts: `[E]`.
    """

    xx: Float
    yy: Float
    xy: Float
    x_counts: Float
    y_counts: Float

    @staticmethod
    def of(x: Float, y: Float, x_of: Whole, y_of: Whole, episodes: int) -> "KernelSums":
        """Sums of samples `[n, D]` and `[m, D]` of episodes `[n]` and `[m]`, from 0 to E - 1.

        Raises:
            UsageError: shapes do not fit.
        """
        _check(x, y)
        own, other = np.eye(episodes)[x_of], np.eye(episodes)[y_of]
        return KernelSums(
            own.T @ polynomial_kernel(x, x) @ own,
            other.T @ polynomial_kernel(y, y) @ other,
            own.T @ polynomial_kernel(x, y) @ other,
            own.sum(0),
            other.sum(0),
        )

    def distance(self, x_drawn: Float, y_drawn: Float) -> Float:
        """`[B]` distances where episodes count so often in each set, `[B, E]`; NaN of one alone."""

        def mean(sums: Float, one: Float, two: Float, left: Float, right: Float) -> Float:
            apart = 1.0 - np.eye(len(sums))
            with np.errstate(invalid="ignore", divide="ignore"):
                total = ((left @ (sums * apart)) * right).sum(-1)
                pairs = ((left @ (np.outer(one, two) * apart)) * right).sum(-1)
                result: Float = total / np.where(pairs > 0, pairs, np.nan)
            return result

        n, m = self.x_counts, self.y_counts
        return (
            mean(self.xx, n, n, x_drawn, x_drawn)
            + mean(self.yy, m, m, y_drawn, y_drawn)
            - 2.0 * mean(self.xy, n, m, x_drawn, y_drawn)
        )


def _check(x: Float, y: Float) -> None:
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1]:
        raise UsageError(
            f"features to compare have shapes {x.shape} and {y.shape}; expected [n, D] and [m, D]"
        )
