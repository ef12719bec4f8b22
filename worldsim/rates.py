"""Frame and control rates in Hz, whole or not: 10, 29.97, 30000/1001."""

import math
from fractions import Fraction

from worldsim.errors import UsageError

TOLERANCE = 1e-4
"""Share by which two notations of one rate may differ: 29.97 is 30000/1001 rounded."""
LARGEST_DENOMINATOR = 1001


def plain_rate(fps: float) -> float:
    """`fps` as int where it is whole up to rounding, else as float.

    Raises:
        UsageError: it is no positive number.
    """
    if not math.isfinite(fps) or fps <= 0:
        raise UsageError(f"fps must be a positive number of frames a second, got {fps}")
    whole = round(fps)
    return whole if math.isclose(fps, whole, rel_tol=1e-9) else float(fps)


def exact_rate(fps: float) -> Fraction:
    """The fraction that a rate stands for, as video files write it; 29.97 is 30000/1001."""
    thousandths = Fraction(1000 * round(fps * 1.001), 1001)
    for fraction in (Fraction(round(fps)), thousandths):
        if fraction and math.isclose(fps, fraction, rel_tol=TOLERANCE / 10):
            return fraction
    return Fraction(fps).limit_denominator(LARGEST_DENOMINATOR)


def same_rate(one: float, other: float) -> bool:
    """Whether two rates are one, up to how they are written."""
    return math.isclose(one, other, rel_tol=TOLERANCE)
