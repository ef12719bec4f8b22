"""Whether a simulator begins where a start says: only then are two worlds compared on one scene."""

from collections.abc import Sequence

from worldsim.envs.imagination.start import Start
from worldsim.envs.simulator_check import SAME_GREY, Seen
from worldsim.errors import WorldsimError
from worldsim.spec import WorldSpec

_DECODED_GREY = 40.0
"""Grey levels by which a small square of a decoded and resized frame may miss the drawing."""
_DECODED_SQUARE = 4
"""Pixels of its side: a codec errs at edges, a thing that stands elsewhere fills squares."""


def require_paired(
    starts: Sequence[Start], ids: Sequence[int], seen: Sequence[Seen], spec: WorldSpec, name: str
) -> None:
    """Refuse simulator episodes that begin elsewhere than the starts that imagination gets.

    Args:
        starts: N starts.
        ids: their numbers, for messages.
        seen: what the simulator shows at the beginning of each.
        spec: of the world.
        name: of the simulator.

    Raises:
        WorldsimError: a first frame, proprioception or state differs; says by how much.
    """
    for number, start, here in zip(ids, starts, seen, strict=True):
        there = Seen(start.pixels, start.agent_pos, start.state)
        square, grey = (1, SAME_GREY) if start.drawn else (_DECODED_SQUARE, _DECODED_GREY)
        if found := there.differences(here, spec, grey, square):
            raise WorldsimError(
                f"start {number} (seed {start.seed}): {name} begins elsewhere than the start that "
                f"imagination gets: {'; '.join(found)}. Only the same starts can be compared: take "
                "starts from this simulator, or a data set that was recorded in it with the same "
                "env options; its reset(seed) must fix the scene"
            )
