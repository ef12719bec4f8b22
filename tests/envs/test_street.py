"""The street: drawn frames are read back exactly, states continue, and the env keeps the rules."""

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from worldsim.envs import make
from worldsim.envs.imagination.ledger import ExploredMap, Ledger
from worldsim.envs.street.drawing import (
    AHEAD,
    CELL,
    COUNTER,
    HEIGHT,
    PALETTE,
    House,
    draw,
    draw_counter,
    read_counter,
    read_houses,
)
from worldsim.envs.street.env import CAMERA, LEFT, RIGHT, STAY, Street, moved
from worldsim.errors import UsageError


def street(**keys: int) -> Street:
    env = make("worldsim/Street-v0", **keys).unwrapped
    assert isinstance(env, Street)
    return env


def test_the_env_is_a_gymnasium_env() -> None:
    check_env(street(), skip_render_check=True)


@pytest.mark.parametrize("score", [0, 7, 19, 108, 999, 1234])
def test_a_counter_is_read_back_from_clean_and_from_noisy_frames(score: int) -> None:
    frame = draw(0, {}, score)
    assert read_counter(frame) == score % 1000
    noise = np.random.default_rng(score).normal(0, 40, frame.shape)
    assert read_counter(np.clip(frame + noise, 0, 255).astype(np.uint8)) == score % 1000
    other = draw(0, {}, 555)
    draw_counter(other[None], score)
    np.testing.assert_array_equal(other, frame)


def test_houses_are_read_back_wherever_the_walker_stands() -> None:
    houses = {cell: House(cell % len(PALETTE), cell % 3) for cell in range(-3, 4) if cell != 1}
    for place in range(-3, 4):
        expected = [
            houses[c].colour if c in houses else -1 for c in range(place - AHEAD, place + AHEAD)
        ]
        assert read_houses(draw(place, houses, 3)).tolist() == expected


def test_a_point_for_every_first_visit_and_none_for_a_second() -> None:
    env = street(length=3)
    env.reset(seed=5)
    rewards = [env.step(a)[1] for a in (RIGHT, RIGHT, LEFT, STAY, LEFT, LEFT, RIGHT)]
    assert rewards == [1, 1, 0, 0, 0, 1, 0] and env.score == 3
    ends = [env.step(RIGHT)[1] for _ in range(6)]
    assert sum(ends) == 1 and env.place == 3 and moved(-3, LEFT, 3) == -3
    assert moved([0, -3, 2, 3], [STAY, LEFT, LEFT, RIGHT], 3).tolist() == [0, -3, 1, 3]
    assert env.step(STAY)[4]["events"].tolist() == [0]


def test_a_state_continues_exactly_and_others_are_refused() -> None:
    env, twin = street(), street()
    env.reset(seed=1)
    for action in (RIGHT, RIGHT, LEFT):
        env.step(action)
    first, _ = twin.reset(seed=9, options={"initial_state": env.get_state()})
    for action in (RIGHT, RIGHT, LEFT):
        one, other = env.step(action), twin.step(action)
        np.testing.assert_array_equal(one[0]["pixels"][CAMERA], other[0]["pixels"][CAMERA])
        assert one[1] == other[1]
    with pytest.raises(UsageError, match="another env"):
        twin.set_state({"physics": [1.0]})


def test_a_ledger_books_changes_and_refuses_others() -> None:
    ledger = Ledger.of(np.array([0, 5]))
    assert ledger.book(np.array([True, False])).tolist() == [1, 0]
    ledger.book(np.array([0, 0]))
    ledger.book(np.array([2, -1]))
    assert ledger.values.tolist() == [3, 4]
    assert [(step, change.tolist()) for step, change in ledger.entries] == [
        (1, [1, 0]),
        (3, [2, -1]),
    ]
    kept = ledger.select([1])
    kept.book(np.array([10]))
    assert kept.values.tolist() == [14] and ledger.values.tolist() == [3, 4]
    with pytest.raises(UsageError, match="one for each"):
        ledger.book(np.array([1]))


def test_a_map_shows_cells_as_they_first_were_until_they_change() -> None:
    houses, rows = {0: House(1, 2)}, (COUNTER, HEIGHT)
    kept = ExploredMap.of(1, CELL, AHEAD, rows)
    at, quiet = np.array([2]), np.array([False])
    first = draw(2, houses, 0)[None]
    kept.update(at, first, quiet)
    # The same street with another colour is put right, but for the walker's own cell.
    other = draw(1, {0: House(4, 0), 1: House(2, 1)}, 0)[None]
    shown = kept.paste(np.array([1]), other)
    expected = draw(1, {0: House(1, 2), 1: House(2, 1)}, 0)
    np.testing.assert_array_equal(shown[0, COUNTER:], expected[COUNTER:])
    # A house that is built is taken in once the walker has left it.
    kept.update(np.array([1]), other, np.array([True]))
    left = draw(2, {0: House(1, 2), 1: House(2, 1)}, 0)[None]
    kept.update(at, left, quiet)
    np.testing.assert_array_equal(
        kept.paste(at, draw(2, {}, 0)[None])[0, COUNTER:, :32], left[0, COUNTER:, :32]
    )
    copied = kept.select([0, 0])
    copied.kept[0].clear()
    assert copied.kept[1].keys() == kept.kept[0].keys()
