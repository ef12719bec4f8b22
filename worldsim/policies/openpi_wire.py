"""openpi's encoding of messages: msgpack with numpy arrays as tagged maps.

As in openpi's `openpi_client/msgpack_numpy.py` (Apache-2.0), so that its servers and clients talk
to ours. Whoever sent a message is not trusted: only plain values and arrays of numbers are decoded,
and nothing is allocated that the message does not hold.
"""

from math import prod
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from worldsim.errors import DataError, UsageError

_CODES = ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")
_DTYPES = {
    dtype.str: dtype for code in _CODES for dtype in (np.dtype("<" + code), np.dtype(">" + code))
}
"""Booleans, integers and floats, as numpy spells them on the wire."""
LONGEST_LIST = 4096
"""Most entries of a list or map; msgpack makes room for what a header says before it reads on."""


def _pack_array(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic) and value.dtype.str not in _DTYPES:
        raise UsageError(f"cannot send an array of dtype {value.dtype}")
    if isinstance(value, np.ndarray):
        return {
            b"__ndarray__": True,
            b"data": value.tobytes(),
            b"dtype": value.dtype.str,
            b"shape": value.shape,
        }
    if isinstance(value, np.generic):
        return {b"__npgeneric__": True, b"data": value.item(), b"dtype": value.dtype.str}
    raise UsageError(f"cannot send a {type(value).__name__}")


def _plain_dtype(text: Any) -> "np.dtype[Any]":
    if not isinstance(text, str) or text not in _DTYPES:
        raise DataError(f"a message holds an array of dtype {str(text)[:40]!r}, which is refused")
    return _DTYPES[text]


def _array(value: dict[Any, Any]) -> NDArray[Any]:
    """The array of a tagged map, in the machine's byte order and the receiver's own."""
    dtype, data, shape = _plain_dtype(value[b"dtype"]), value[b"data"], value[b"shape"]
    if not isinstance(data, bytes) or not isinstance(shape, list):
        raise DataError("an array's data are not bytes, or its shape is no list")
    if not all(type(size) is int and size >= 0 for size in shape):
        raise DataError(f"an array has shape {str(shape)[:80]}")
    if prod(shape) * dtype.itemsize != len(data):
        raise DataError(f"{len(data)} bytes are no array of {dtype} of shape {str(shape)[:80]}")
    return np.ndarray(tuple(shape), dtype, data).astype(dtype.newbyteorder("="))


def _unpack_array(value: dict[Any, Any]) -> Any:
    if b"__ndarray__" in value:
        return _array(value)
    if b"__npgeneric__" in value:
        number = value[b"data"]
        if not isinstance(number, bool | int | float):
            raise DataError(f"a number's data are a {type(number).__name__}")
        return _plain_dtype(value[b"dtype"]).type(number)
    return value


def pack(message: Any) -> bytes:
    """Encode maps, lists, strings, numbers and arrays of numbers.

    Raises:
        UsageError: a value of another type.
    """
    import msgpack  # type: ignore[import-untyped]

    return cast(bytes, msgpack.packb(message, default=_pack_array))


def unpack(data: bytes) -> Any:
    """Inverse of `pack`.

    Raises:
        DataError: not such a message.
    """
    import msgpack

    try:
        return msgpack.unpackb(
            data,
            object_hook=_unpack_array,
            strict_map_key=False,
            max_array_len=LONGEST_LIST,
            max_map_len=LONGEST_LIST,
            max_ext_len=0,
        )
    except (ValueError, TypeError, KeyError, OverflowError, msgpack.UnpackException) as error:
        why = str(error) or type(error).__name__
        raise DataError(f"not an openpi message ({len(data)} bytes): {why}") from error
