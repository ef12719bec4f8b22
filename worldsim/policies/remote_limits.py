"""How much one message between a policy server and a client may hold, as their world needs."""

from worldsim.spec import WorldSpec

MOST_ENVS = 2**16
"""Env ids of clients are below this, so that what a policy keeps of them is bounded."""
MOST_ROWS = 256
_BATCH_BYTES = 1 << 26
_LONGEST_CHUNK, _WIDEST_ACTION = 256, 32
_WIDEST_NUMBER = 8
_LONGEST_TASK = 4096
_REST = 1 << 20
"""Bytes for whatever else a message says: keys, a server's metadata."""


def _row_bytes(spec: WorldSpec) -> int:
    pixels = sum(camera.height * camera.width * 3 for camera in spec.cameras)
    return pixels + spec.agent_pos.dim * _WIDEST_NUMBER + _LONGEST_TASK


def rows_per_message(spec: WorldSpec) -> int:
    """Most envs that one message is about; a client with more of them sends several."""
    return max(1, min(MOST_ROWS, _BATCH_BYTES // _row_bytes(spec)))


def largest_request(spec: WorldSpec) -> int:
    """Bytes of an observation of that many envs, twice: openpi's clients may send more."""
    return _REST + 2 * rows_per_message(spec) * _row_bytes(spec)


def largest_reply(spec: WorldSpec) -> int:
    """Bytes of the longest action chunks for that many envs; openpi's servers pad their actions."""
    width = max(spec.action.dim, _WIDEST_ACTION)
    return _REST + rows_per_message(spec) * _LONGEST_CHUNK * width * _WIDEST_NUMBER
