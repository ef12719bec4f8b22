"""Episodes cut into pieces."""

import numpy as np
import pytest

from worldsim.data.cache import CachedDataset
from worldsim.data.pieces import in_pieces
from worldsim.errors import UsageError


def test_pieces_cover_the_same_rows(square_data: CachedDataset) -> None:
    cut, pieces = in_pieces(square_data, [1], 2)
    rows = square_data.rows(1)
    assert cut.pixels is square_data.pixels and cut.episode_start[-1] == len(cut.pixels)
    lengths = np.diff(cut.episode_start)[pieces]
    assert (lengths[:-1] == 3).all() and 2 <= lengths[-1] <= 3
    assert cut.rows(pieces[0]).start == rows.start
    assert rows.stop - cut.rows(pieces[-1]).stop <= 1  # a frame alone shows no action
    assert (
        cut.num_episodes
        == square_data.num_episodes + int(np.ceil((rows.stop - rows.start) / 3)) - 1
    )


def test_what_is_known_of_an_episode_holds_for_its_pieces(square_data: CachedDataset) -> None:
    cut, pieces = in_pieces(square_data, [1], 2)
    for piece in pieces:
        assert cut.folds[piece] == square_data.folds[1] and cut.tasks[piece] == square_data.tasks[1]
        np.testing.assert_array_equal(cut.rigs.intrinsics[piece], square_data.rigs.intrinsics[1])
        np.testing.assert_array_equal(cut.views_seen[piece], square_data.views_seen[1])
    others = [e for e in range(cut.num_episodes) if e not in pieces]
    assert len(cut.rows(others[-1]).indices(10**6)) == 3
    last = square_data.rows(square_data.num_episodes - 1)
    assert cut.rows(cut.num_episodes - 1) == last


def test_a_piece_has_a_step(square_data: CachedDataset) -> None:
    with pytest.raises(UsageError, match="1 or more"):
        in_pieces(square_data, [1], 0)
