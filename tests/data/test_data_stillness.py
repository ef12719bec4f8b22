"""Films and states that never change are told, where actions asked for motion."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from worldsim.data.episode import Episode
from worldsim.data.faults import Fault, errors_of
from worldsim.data.verify import asks_to_move, is_still, is_still_film, verify
from worldsim.data.writer import LeRobotWriter
from worldsim.spec import ActionMode, ActionSpec, WorldSpec

ROWS = 12


def action_spec(mode: ActionMode) -> ActionSpec:
    return ActionSpec(("a", "b"), (-1.0, -2.0), (1.0, 2.0), ("1", "1"), (1.0, 1.0), mode)


@pytest.mark.parametrize(
    ("mode", "rows", "asks"),
    [
        ("delta", np.zeros((ROWS, 2)), False),
        ("delta", np.full((ROWS, 2), 0.01), False),
        ("delta", np.full((ROWS, 2), 0.5), True),
        ("torque", np.full((ROWS, 2), [0.0, 1.0]), True),
        ("absolute", np.full((ROWS, 2), 0.5), False),
        ("unknown", np.full((ROWS, 2), 0.5), False),
        ("absolute", np.linspace(-1, 1, ROWS)[:, None].repeat(2, 1), True),
        ("delta", np.eye(ROWS, 2), False),
        ("delta", np.zeros((0, 2)), False),
    ],
)
def test_what_asks_for_motion(mode: ActionMode, rows: np.ndarray, asks: bool) -> None:
    assert asks_to_move(rows.astype(np.float32), action_spec(mode)) is asks


def film(
    change: Callable[[np.ndarray], None], size: tuple[int, int] = (37, 50)
) -> list[np.ndarray]:
    """A noisy film of a pattern, as a codec returns it; `change` acts on the last frame."""
    rng = np.random.default_rng(0)
    still = rng.integers(20, 230, (*size, 3))
    frames = [np.clip(still + rng.integers(-6, 7, still.shape), 0, 255) for _ in range(4)]
    change(frames[-1])
    return [frame.astype(np.uint8) for frame in frames]


def small_thing(frame: np.ndarray) -> None:
    frame[-4:, -4:] = 255 - frame[-4:, -4:] // 2


def test_noise_is_no_motion_and_a_small_thing_is() -> None:
    assert is_still_film(film(lambda frame: None))
    assert not is_still_film(film(small_thing))
    assert is_still_film(film(lambda frame: None, (5, 7)))
    assert not is_still_film([np.zeros((16, 16, 3), np.uint8)] * 3), "stands for no camera"
    assert not is_still_film([])


def test_every_frame_is_taken_even_after_motion() -> None:
    taken = iter(film(small_thing) + film(small_thing))
    assert not is_still_film(taken)
    assert next(taken, None) is None


def test_still_numbers() -> None:
    assert is_still(np.ones((4, 2), np.float32))
    assert not is_still(np.eye(4, 2, dtype=np.float32))
    assert not is_still(np.zeros((4, 0), np.float32))


@pytest.fixture(scope="module")
def faults(
    tmp_path_factory: pytest.TempPathFactory,
    spec: WorldSpec,
    make_episode: Callable[..., Episode],
) -> list[Fault]:
    """Of a set whose episode 1 is frozen, 2 idle, and 3 has one camera that hangs."""
    root = tmp_path_factory.mktemp("still") / "set"
    writer = LeRobotWriter(root, spec, {"id": "test/World-v0", "kwargs": {}})

    def held(rows: np.ndarray) -> np.ndarray:
        return np.repeat(rows[:1], len(rows), 0)

    for index in range(4):
        episode = make_episode(index, ROWS)
        pixels = dict(episode.pixels)
        if index in (1, 2):
            pixels = {name: held(frames) for name, frames in pixels.items()}
            still: dict[str, Any] = {
                name: held(getattr(episode, name)) for name in ("agent_pos", "state")
            }
            episode = replace(episode, **still)
        if index == 2:
            episode = replace(episode, action=np.zeros_like(episode.action))
        if index == 3:
            pixels["wrist"] = held(pixels["wrist"])
        writer.add(replace(episode, pixels=pixels))
    return verify(writer.finalize())


def test_verify_names_episode_and_camera_and_leaves_idle_episodes_alone(
    faults: list[Fault],
) -> None:
    found = {
        (f.episode, part)
        for f in faults
        for part in ("front", "wrist", "state")
        if part in f.message
    }
    assert found == {(1, "front"), (1, "wrist"), (1, "state"), (3, "wrist")}
    assert len(faults) == 4 and not errors_of(faults)
