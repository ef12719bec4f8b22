"""Navigation metrics as formulas of plain numbers, for whoever has the numbers already.

LH-VLN is arXiv 2412.09082 (CVPR 2025), its code HCPLab-SYSU/LH-VLN at 3492080, `utils/metrics.py`.
Legend: N sub-tasks of one episode; s_i whether sub-task i succeeds, with s_0 = 1.
"""

import math
from collections.abc import Sequence

from worldsim.errors import UsageError


def independent_success(successes: Sequence[bool]) -> float:
    """ISR of an episode: sum_i s_i / N.

    Source: LH-VLN, section 3.4. The paper averages this over episodes, the released code divides
    all successes by all sub-tasks (`evaluate` gives that as `isr_pooled`).

    Raises:
        UsageError: there is no sub-task.
    """
    return sum(map(bool, successes)) / _count(successes)


def conditional_success(successes: Sequence[bool]) -> float:
    """CSR of an episode: sum_i s_i (1 + (N - 1) s_{i-1}) / N^2.

    Source: LH-VLN, section 3.4; its code takes s_0 = 1, of which the paper says nothing.

    Raises:
        UsageError: there is no sub-task.
    """
    return sum(_conditional(successes)) / _count(successes)


def conditional_success_by_truth(successes: Sequence[bool], weights: Sequence[float]) -> float:
    """CGT of an episode: sum_i (P_i / P) s_i (1 + (N - 1) s_{i-1}) / N, P the sum of all P_i.

    Source: LH-VLN, section 3.4. P_i is the true path length in the paper, the expert's number of
    steps in the code. Where all are 0, as for an agent that starts at every goal, they count alike.

    Args:
        successes: N.
        weights: N, finite and not negative.

    Raises:
        UsageError: there is no sub-task, or weights that cannot be.
    """
    count = _count(successes)
    if len(weights) != count or not all(0 <= w < math.inf for w in weights):
        raise UsageError(
            f"weights are {list(weights)}, expected {count} finite numbers from 0, one a sub-task"
        )
    most = max(weights)
    scaled = [w / most for w in weights] if most else [1.0] * count
    return sum(
        w / sum(scaled) * share for w, share in zip(scaled, _conditional(successes), strict=True)
    )


def target_approach(error: float, begun_at: float, radius: float) -> float:
    """TAR of a sub-task: 1 - max(NE - D, 0) / max(NE, GT), in [0, 1].

    Source: LH-VLN's challenge, `contest/metrics.md`, which prints a sum over sub-tasks where the
    code takes a mean. GT = 0 gives 1 if NE = 0, else 0, as the code says. An infinite NE gives
    the limit 0; the code gives NaN.

    Args:
        error: NE, metres to go at its end.
        begun_at: GT, metres to go when it began.
        radius: D, metres within which it succeeds.

    Raises:
        UsageError: NaN or a negative number.
    """
    if not (error >= 0 and begun_at >= 0 and radius >= 0):
        raise UsageError(
            f"TAR of distances {error}, {begun_at} and radius {radius}: expected metres from 0"
        )
    if begun_at == 0:
        return float(error == 0)
    if math.isinf(error):
        return 0.0
    if math.isinf(begun_at):
        return 1.0
    return 1.0 - max(error - radius, 0.0) / max(error, begun_at)


def approach(error: float, begun_at: float) -> float:
    """Soft success: max(0, 1 - d_T / d_0), in [0, 1].

    Source: habitat-lab `SoftSPL`, which divides by d_0 unguarded. With d_0 = 0 it is 1 for an agent
    that ended there, else 0; with d_T infinite it is 0.
    """
    if begun_at == 0:
        return float(error == 0)
    if math.isinf(error):
        return 0.0
    return max(0.0, 1.0 - error / begun_at)


def efficiency(shortest: float, walked: float) -> float:
    """L / max(L, P), in [0, 1]: how straight a path was; 1 where both are 0.

    Source: Anderson et al., On Evaluation of Embodied Navigation Agents, 1807.06757, section 4.
    habitat-lab and LH-VLN give 0/0 or 0 where nothing was to be walked.

    Raises:
        UsageError: NaN, infinite or negative.
    """
    if not (0 <= shortest < math.inf and 0 <= walked < math.inf):
        raise UsageError(f"lengths {shortest} and {walked}: expected finite numbers from 0")
    longer = max(shortest, walked)
    return shortest / longer if longer else 1.0


def challenge_score(tar: float, isr: float, csr: float, cgt: float) -> float:
    """0.4 TAR + 0.2 ISR + 0.2 CSR + 0.2 CGT, by which the MMSP 2025 challenge ranks.

    Source: LH-VLN, `contest/metrics.md`.
    """
    return 0.4 * tar + 0.2 * (isr + csr + cgt)


def _count(successes: Sequence[bool]) -> int:
    if not len(successes):
        raise UsageError("an episode without sub-tasks has no success; expected one at least")
    return len(successes)


def _conditional(successes: Sequence[bool]) -> list[float]:
    """s_i (1 + (N - 1) s_{i-1}) / N of each sub-task, in [0, 1]."""
    count = _count(successes)
    before = [True, *successes]
    return [
        bool(now) * (1 + (count - 1) * bool(last)) / count
        for last, now in zip(before, successes, strict=False)
    ]
