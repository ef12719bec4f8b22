"""Loop closure: act, undo, compare. A world that remembers looks the same on return.

Displacements are undone in reverse order. Pushed things do not come back, in the simulator either,
so imagination is compared with the simulator's own return beside the first frame.

Legend: N episodes, T steps out, A action, V view, H W pixels.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass

import numpy as np

from worldsim.data.cache import CachedDataset
from worldsim.errors import UsageError
from worldsim.models.world_model import WorldModel
from worldsim.sampling.sampler import Sampler
from worldsim.spec import ActionSpec
from worldsim.validation.action_swap import Replay, simulator_replay
from worldsim.validation.open_loop import Drive, Float, Pixels, imagine, recorded_actions
from worldsim.validation.video_metrics import area_weights, frame_errors, psnr_of


@dataclass(frozen=True)
class ClosureReport:
    """dB, errors averaged over episodes and views.

    Attributes:
        steps: T; the return takes as many.
        imagined_return: imagined frame on return against the first frame.
        simulated_return: the simulator's frame on return against the first frame, which is the
            most that can be asked.
        against_simulator: imagined against simulated on return.
    """

    steps: int
    imagined_return: float
    simulated_return: float
    against_simulator: float

    def to_json(self) -> dict[str, float]:
        """All figures."""
        return asdict(self)


def there_and_back(actions: Float, spec: ActionSpec) -> Float:
    """Actions `[T, A]` followed by their undoing, `[2 T, A]`.

    Raises:
        UsageError: actions are not displacements, so negating them undoes nothing.
    """
    if spec.mode != "delta":
        raise UsageError(f"loop closure needs actions of mode 'delta', got {spec.mode!r}")
    back = actions[::-1].copy()
    moves = [i for i, unit in enumerate(spec.units) if unit in ("m", "rad")]
    back[:, moves] *= -1.0
    return np.concatenate([actions, back])


def loop_closure(
    model: WorldModel,
    cache: CachedDataset,
    episodes: Sequence[int],
    steps: int,
    sampler: Sampler | None = None,
    replay: Replay | None = None,
    seed: int = 0,
) -> ClosureReport:
    """Imagine the first `steps` actions of each episode and their undoing.

    Args:
        model: a world model of the cache's world.
        cache: decoded data set.
        episodes: none of them trained on; those shorter than `steps` are left out.
        steps: T.
        sampler: of the stream.
        replay: the simulator; None builds the env the data set was recorded in.
        seed: of sampling noise.

    Raises:
        UsageError: actions are no displacements, or no episode is long enough.
        DataError: the episodes cannot be repeated in their simulator.
    """
    recorded = {episode: recorded_actions(cache, episode, steps) for episode in episodes}
    drives = [
        Drive(episode, there_and_back(actions, cache.spec.action), number)
        for number, (episode, actions) in enumerate(recorded.items())
        if len(actions) == steps
    ]
    if not drives or steps < 1:
        raise UsageError(
            f"loop closure over {steps} steps: no episode lasts so long; take a shorter closure_s, "
            "or 0 to leave it out"
        )
    ends: list[Pixels] = []
    for frames in imagine(model, cache, drives, sampler, seed):
        if frames.horizon == 2 * steps:
            ends = list(frames.pixels)
    with nullcontext(replay) if replay else simulator_replay(cache) as simulate:
        returns = np.stack([simulate(drive.episode, drive.actions)[1][-1] for drive in drives])
    first = np.asarray(cache.pixels[cache.episode_start[[drive.episode for drive in drives]]])
    shown = np.stack(ends)
    weight = area_weights(cache.spec.cameras)
    out, back, both = (
        psnr_of(frame_errors(left, right, right, weight).mse.mean())
        for left, right in ((shown, first), (returns, first), (shown, returns))
    )
    return ClosureReport(steps, out, back, both)
