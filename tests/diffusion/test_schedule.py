"""Schedules: levels by hand, order of emission, and what holds at every slope."""

import pytest

from worldsim.diffusion.schedule import Row, Schedule, autoregressive, full_sequence, rolling
from worldsim.errors import UsageError

LADDER = (1.0, 0.75, 0.5, 0.25, 0.0)
TWO = (1.0, 0.5, 0.0)
STAIRS = [Schedule(LADDER, 1, slope, window) for slope in range(5) for window in (1, 2, 3, 4, 6)]


def shape(rows: list[Row]) -> list[tuple[tuple[float, ...], list[int], list[int]]]:
    return [(row.sigma, list(row.emit), list(row.commit)) for row in rows]


def test_rolling_forcing_ramps_up_rolls_and_drains() -> None:
    assert shape(list(rolling(TWO).rows(4))) == [
        ((1.0,), [], []),
        ((0.5, 1.0), [0], []),
        ((0.5, 1.0), [1], [0]),
        ((0.5, 1.0), [2], [1]),
        ((0.5,), [3], [2]),
    ]


def test_autoregressive_finishes_a_chunk_before_the_next_begins() -> None:
    assert shape(list(autoregressive(TWO).rows(3))) == [
        ((1.0,), [], []),
        ((0.5,), [0], []),
        ((1.0,), [], [0]),
        ((0.5,), [1], []),
        ((1.0,), [], [1]),
        ((0.5,), [2], []),
    ]


def test_full_sequence_keeps_a_window_on_one_rung() -> None:
    assert shape(list(full_sequence(TWO, 1, window=2).rows(3))) == [
        ((1.0, 1.0), [], []),
        ((0.5, 0.5), [0, 1], []),
        ((1.0,), [], [0, 1]),
        ((0.5,), [2], []),
    ]


def test_a_narrow_window_waits_for_its_oldest_chunk() -> None:
    rows = list(Schedule(LADDER, 1, slope=1, window=2).rows(3))
    assert [row.sigma for row in rows] == [
        (1.0,),
        (0.75, 1.0),
        (0.5, 0.75),
        (0.25, 0.5),
        (0.25, 1.0),
        (0.75,),
        (0.5,),
        (0.25,),
    ]


@pytest.mark.parametrize("stairs", STAIRS, ids=str)
def test_every_chunk_walks_down_the_whole_ladder_once_and_in_order(stairs: Schedule) -> None:
    walks: dict[int, list[tuple[float, float]]] = {}
    emitted: list[int] = []
    committed: list[int] = []
    for row in stairs.rows(7):
        assert len(row.chunks) <= stairs.most_in_flight
        assert len(row.emit) <= stairs.most_emitted
        assert len(row.chunks) > 0
        for chunk, before, after in zip(row.chunks, row.sigma, row.sigma_next, strict=True):
            walks.setdefault(chunk, []).append((before, after))
        # What is committed is finished, and what follows it has not begun to read it before.
        committed += row.commit
        assert committed == emitted
        emitted += row.emit
    assert emitted == list(range(7))
    steps = list(zip(LADDER, LADDER[1:], strict=False))
    assert walks == {chunk: steps for chunk in range(7)}


@pytest.mark.parametrize("stairs", STAIRS, ids=str)
def test_older_chunks_are_never_noisier(stairs: Schedule) -> None:
    for row in stairs.rows(7):
        assert list(row.sigma) == sorted(row.sigma)


def test_slopes_are_three_samplers_of_one_builder() -> None:
    assert autoregressive(LADDER) == Schedule(LADDER, 1, 4, 1)
    assert rolling(LADDER, 3).most_in_flight == 4
    assert full_sequence(LADDER, 3, 5).most_in_flight == full_sequence(LADDER, 3, 5).most_emitted


@pytest.mark.parametrize(
    ("ladder", "chunk", "slope", "window", "said"),
    [
        ((1.0, 0.5), 1, 1, 1, "from 1 to 0"),
        ((1.0, 0.5, 0.5, 0.0), 1, 1, 1, "from 1 to 0"),
        ((1.0,), 1, 0, 1, "from 1 to 0"),
        (TWO, 0, 1, 1, "chunk 0"),
        (TWO, 1, 3, 1, "slope 3"),
        (TWO, 1, -1, 1, "slope -1"),
        (TWO, 1, 1, 0, "window 0"),
    ],
)
def test_impossible_schedules_are_refused(
    ladder: tuple[float, ...], chunk: int, slope: int, window: int, said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        Schedule(ladder, chunk, slope, window)
