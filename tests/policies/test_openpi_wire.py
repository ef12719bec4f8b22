"""The wire format of remote policies, and the mapping of observations to openpi's keys."""

import tracemalloc
from typing import Any

import numpy as np
import pytest
from policy_fixtures import make_observation, make_spec

from worldsim.errors import DataError, UsageError
from worldsim.policies.openpi_wire import LONGEST_LIST, pack, unpack
from worldsim.policies.remote_messages import RemoteMapping, resize_with_pad

SPEC = make_spec()


def test_wire_format_is_openpis() -> None:
    import msgpack  # type: ignore[import-untyped]

    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    raw = msgpack.unpackb(pack({"a": array, "s": np.float32(2.5)}))
    assert raw["a"] == {
        b"__ndarray__": True,
        b"data": array.tobytes(),
        b"dtype": "<f4",
        b"shape": [2, 3],
    }
    assert raw["s"] == {b"__npgeneric__": True, b"data": 2.5, b"dtype": "<f4"}


def test_wire_round_trip() -> None:
    message = {
        "image": np.arange(12, dtype=np.uint8).reshape(2, 2, 3),
        "empty": np.zeros((0, 3), np.float32),
        "flag": np.bool_(True),
        "nested": {"list": [1, "two", None]},
    }
    back = unpack(pack(message))
    np.testing.assert_array_equal(back["image"], message["image"])
    assert back["empty"].shape == (0, 3) and back["nested"] == message["nested"]
    assert back["flag"] == np.True_
    back["image"][0, 0, 0] = 9  # arrays are the receiver's own


@pytest.mark.parametrize(
    "bad", [np.array([object()]), np.array([1j]), np.array(["text"]), object()]
)
def test_wire_refuses_objects(bad: Any) -> None:
    with pytest.raises(UsageError, match="cannot send"):
        pack({"x": bad})


@pytest.mark.parametrize("dtype", ["O", "c16", "V8", "U4", "S16", "nonsense"])
def test_wire_refuses_foreign_dtypes(dtype: str) -> None:
    import msgpack

    data = msgpack.packb(
        {b"__ndarray__": True, b"data": b"\0" * 16, b"dtype": dtype, b"shape": [1]}
    )
    with pytest.raises(DataError):
        unpack(data)


def test_wire_refuses_garbage() -> None:
    with pytest.raises(DataError, match="not an openpi message"):
        unpack(b"\xc1garbage")


def array_message(data: Any, dtype: Any, shape: Any) -> bytes:
    import msgpack

    tagged = {b"__ndarray__": True, b"data": data, b"dtype": dtype, b"shape": shape}
    return bytes(msgpack.packb({"x": tagged}))


@pytest.mark.parametrize(
    "message",
    [
        array_message(b"", "<U0", [2**28]),
        array_message(b"", "|V0", [2**28]),
        array_message(b"\0", "|u1", [2**40]),
        array_message(b"\0" * 8, "<f4", [2, -1, -1]),
        array_message(b"\0" * 8, "<f4", [3]),
        array_message(b"\0" * 8, "<f4", [True, 2]),
        array_message(b"\0" * 8, "<f4", 2),
        array_message(b"\0" * 8, "(2,)<f4", [1]),
        array_message(b"\0" * 8, ["<f4"], [2]),
        array_message("text", "|u1", [4]),
        array_message(b"", "<f4", [0] * 100),
        b"\xdd\x00\x10\x00\x00" * 1000 + b"\0" * 2**20,  # lists in lists that say they are long
        b"\xdf\x10\x00\x00\x00",
        b"\x91" * 5000,
        b"\xc7\x01\x05\x00",  # an extension type
        b"\x82\xc4\x0d__npgeneric__\xc3\xc4\x04data\xcd\x01\x2c",
    ],
)
def test_nothing_is_allocated_that_a_message_does_not_hold(message: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(DataError):
            unpack(message)
        assert tracemalloc.get_traced_memory()[1] < 2**23 + 4 * len(message)
    finally:
        tracemalloc.stop()


def test_a_number_beyond_its_dtype_is_refused() -> None:
    import msgpack

    with pytest.raises(DataError):
        unpack(msgpack.packb({b"__npgeneric__": True, b"data": 300, b"dtype": "|u1"}))


def test_arrays_of_the_other_byte_order_are_read_as_numbers() -> None:
    numbers = np.arange(3, dtype=">f4")
    back = unpack(pack({"x": numbers}))["x"]
    np.testing.assert_array_equal(back, numbers)
    assert back.dtype.isnative


def test_the_longest_list_passes() -> None:
    assert len(unpack(pack([0] * LONGEST_LIST))) == LONGEST_LIST


def test_mapping_round_trip_and_bad_columns() -> None:
    observation = make_observation(2)
    mapping = RemoteMapping(state={"a": (2, 0), "b": (1, 3)})
    back = mapping.decode(mapping.encode(observation, 1), SPEC.camera_names)
    np.testing.assert_array_equal(back["agent_pos"][0], observation["agent_pos"][1])
    np.testing.assert_array_equal(back["pixels"]["right"][0], observation["pixels"]["right"][1])
    with pytest.raises(UsageError, match="columns"):
        RemoteMapping(state={"a": (9,)}).encode(observation, 0)
    with pytest.raises(UsageError, match="names cameras"):
        RemoteMapping(images={"rear": "x"}).encode(observation, 0)


def test_resize_with_pad_keeps_the_aspect() -> None:
    image = np.full((20, 40, 3), 200, np.uint8)
    padded = resize_with_pad(image, 64)
    assert padded.shape == (64, 64, 3)
    assert (padded[16:48] == 200).all() and (padded[:16] == 0).all() and (padded[48:] == 0).all()
