"""openpi's encoding of messages: msgpack with numpy arrays as tagged maps.

As in openpi's `openpi_client/msgpack_numpy.py` (Apache-2.0), so that its servers and clients talk
to ours. Only plain values and arrays of plain dtypes are decoded; objects are refused both ways.
"""

from typing import Any, cast

import numpy as np

from worldsim.errors import DataError, UsageError

_PLAIN_KINDS = "biufSU"
"""numpy dtype kinds with no objects, records or complex numbers in them."""


def _pack_array(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind not in _PLAIN_KINDS:
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
    dtype = np.dtype(str(text))
    if dtype.kind not in _PLAIN_KINDS:
        raise DataError(f"a message holds an array of dtype {dtype}, which is refused")
    return dtype


def _unpack_array(value: dict[Any, Any]) -> Any:
    if b"__ndarray__" in value:
        dtype = _plain_dtype(value[b"dtype"])
        return np.ndarray(buffer=value[b"data"], dtype=dtype, shape=tuple(value[b"shape"])).copy()
    if b"__npgeneric__" in value:
        return _plain_dtype(value[b"dtype"]).type(value[b"data"])
    return value


def pack(message: Any) -> bytes:
    """Encode maps, lists, strings, numbers and arrays.

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
        return msgpack.unpackb(data, object_hook=_unpack_array, strict_map_key=False)
    except (ValueError, TypeError, KeyError, msgpack.UnpackException) as error:
        raise DataError(f"not an openpi message ({len(data)} bytes): {error}") from error
