"""Messages between page and server: what is read, what is refused, frames as they went in."""

import json
from dataclasses import replace

import numpy as np
import pytest
from play_testing import unpack_frame

from worldsim.errors import UsageError
from worldsim.play.controls import controls_of, resting
from worldsim.play.protocol import grid, pack_frame, parse
from worldsim.play.session import PlaySession
from worldsim.spec import ActionSpec


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "3",
        '{"type": ["action"]}',
        '{"type": "format disk"}',
        '{"type": "action", "value": "up", "t": 1}',
        '{"type": "action", "value": [0, 0]}',
        '{"type": "reset", "seed": -1}',
        '{"type": "reset", "seed": 1.5}',
        '{"type": "reset", "seed": true}',
        '{"type": "pause", "on": 1}',
        '{"type": "sampler", "kind": "rolling"}',
        '{"type": "action", "value": [0, 0, 0, 0, NaN], "t": 1}',
        '{"type": "action", "value": [0, 0, 0, 0, 1e999], "t": 1}',
        '{"type": "action", "value": [[0, 0, 0, 0, 0]], "t": 1}',
        '{"type": "action", "value": [true, 0, 0, 0, 0], "t": 1}',
        '{"type": "action", "value": [0, 0, 0, 0, 0], "t": NaN}',
        '{"type": "action", "value": [0, 0, 0, 0, 0], "t": 1' + 400 * "0" + "}",
        '{"type": "seen", "frame": 1' + 5000 * "0" + "}",
        5000 * '{"a":' + 5000 * "}",
        10_000 * "[",
        '{"type": "reset", "seed": 1, "pad": "' + 20_000 * "x" + '"}',
    ],
)
def test_garbage_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse(text)
    assert len(str(refused.value)) < 300


def test_a_message_keeps_its_known_values_only() -> None:
    message = parse(json.dumps({"type": "reset", "seed": 7, "more": 1}))
    assert message.kind == "reset" and message.values == {"seed": 7}


def test_small_frames_arrive_unchanged(session: PlaySession) -> None:
    rng = np.random.default_rng(0)
    shape = session.latest.imagined.shape
    imagined, simulated = rng.integers(0, 256, (2, *shape), np.uint8)
    observed = replace(session.latest, imagined=imagined, simulated=simulated)
    header, image = unpack_frame(pack_frame({"step": 3}, observed))
    assert header["step"] == 3 and header["format"] == "png"
    views, height, width = shape[:3]
    assert image.shape == (2 * height, views * width, 3)
    np.testing.assert_array_equal(image[:height, width : 2 * width], imagined[1])
    np.testing.assert_array_equal(image[height:, :width], simulated[0])
    assert grid(session.latest).shape == (height, views * width, 3)


def test_large_frames_are_compressed(session: PlaySession) -> None:
    large = np.zeros((3, 320, 320, 3), np.uint8)
    header, image = unpack_frame(pack_frame({}, replace(session.latest, imagined=large)))
    assert header["format"] == "jpeg" and image.shape == (320, 960, 3)


def test_every_dimension_has_its_own_key_and_grippers_toggle() -> None:
    names = ("dx", "dy", "dz", "dyaw", "grip")
    action = ActionSpec(names, (-1.0,) * 5, (1.0,) * 5, ("m",) * 5, (1.0,) * 5)
    controls = controls_of(action)
    assert [c.name for c in controls] == list(names)
    assert [c.toggle for c in controls] == [False] * 4 + [True]
    keys = [key for c in controls for key in (c.less, c.more) if key]
    assert len(keys) == len(set(keys)) == 9
    np.testing.assert_array_equal(resting(controls), [0, 0, 0, 0, 1])


def test_more_dimensions_than_keys_rest() -> None:
    count = 12
    names = tuple(f"joint_{i}" for i in range(count))
    action = ActionSpec(names, (0.5,) * count, (1.0,) * count, ("1",) * count, (1.0,) * count)
    controls = controls_of(action)
    assert controls[-1].more == "" and controls[0].more
    np.testing.assert_array_equal(resting(controls), np.full(count, 0.5, np.float32))
