"""TFRecord files without TensorFlow: records and their checksums, and `tf.train.Example` in them.

A record is its length (uint64), a masked CRC-32C of that, its bytes, and a masked CRC-32C of
these, little endian (tensorflow/core/lib/io/record_writer.h). An Example maps names to lists of
bytes, floats or whole numbers (tensorflow/core/example/{example,feature}.proto), in the wire format
of protocol buffers.
"""

import struct
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from worldsim.errors import DataError

_POLYNOMIAL = 0x82F63B78
"""Castagnoli's, bits reversed."""
_MASK_DELTA = 0xA282EAD8
_LANE = 1024
"""Bytes that one lane of the checksum goes through, all lanes at once."""
_HEADER, _FOOTER = 12, 4

Uint32 = NDArray[np.uint32]


@cache
def _byte_table() -> Uint32:
    """`[256]` what a byte does to an empty register."""
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, (table >> 1) ^ np.uint32(_POLYNOMIAL), table >> 1)
    return table.astype(np.uint32)


@cache
def _lane_tables() -> Uint32:
    """`[4, 256]` what each byte of a register becomes after a lane of zeros."""
    table = _byte_table()
    states = np.arange(256, dtype=np.uint32)[None] << (8 * np.arange(4, dtype=np.uint32))[:, None]
    for _ in range(_LANE):
        states = table[states & 0xFF] ^ (states >> 8)
    return states


def crc32c(data: bytes) -> int:
    """CRC-32C of `data` (RFC 3720, appendix B.4).

    The register is linear in what went in. Lanes of the data are therefore gone through at once,
    and joined by what a lane of zeros does to a register.
    """
    table = _byte_table()
    if len(data) < 2 * _LANE:
        register = 0xFFFFFFFF
        for byte in data:
            register = int(table[(register ^ byte) & 0xFF]) ^ register >> 8
        return register ^ 0xFFFFFFFF
    lanes = -(-len(data) // _LANE)
    padded = np.zeros(lanes * _LANE, np.uint8)
    body = padded[lanes * _LANE - len(data) :]
    body[:] = np.frombuffer(data, np.uint8)
    body[:4] ^= 0xFF  # the register at first, as what goes in
    states = np.zeros(lanes, np.uint32)
    for column in np.ascontiguousarray(padded.reshape(lanes, _LANE).T):
        states = table[(states ^ column) & 0xFF] ^ (states >> 8)
    tables, register = [part.tolist() for part in _lane_tables()], 0
    for state in states.tolist():
        a, b, c, d = (tables[i][register >> 8 * i & 0xFF] for i in range(4))
        register = a ^ b ^ c ^ d ^ state
    return register ^ 0xFFFFFFFF


def masked(checksum: int) -> int:
    """A checksum as TFRecord stores it."""
    return ((checksum >> 15 | checksum << 17) + _MASK_DELTA) & 0xFFFFFFFF


def record_spans(path: Path) -> list[tuple[int, int]]:
    """(first byte, length) of every record of a file; lengths are checked, contents are not.

    Raises:
        DataError: a length is not what its checksum says, or the file ends within a record.
    """
    spans: list[tuple[int, int]] = []
    size, place = path.stat().st_size, 0
    with path.open("rb") as file:
        while place < size:
            file.seek(place)
            header = file.read(_HEADER)
            if len(header) < _HEADER:
                raise DataError(f"{path} ends within the header of record {len(spans)}; truncated?")
            length, stored = struct.unpack("<QI", header)
            if masked(crc32c(header[:8])) != stored:
                raise DataError(
                    f"{path}: the length of record {len(spans)} (byte {place}) does not fit its "
                    "checksum; is it a TFRecord file, uncompressed?"
                )
            if place + _HEADER + length + _FOOTER > size:
                raise DataError(f"{path} ends within record {len(spans)}; is it truncated?")
            spans.append((place + _HEADER, length))
            place += _HEADER + length + _FOOTER
    return spans


def read_record(path: Path, span: tuple[int, int]) -> bytes:
    """The bytes of a record, held to their checksum.

    Raises:
        DataError: they are others than were written.
    """
    first, length = span
    with path.open("rb") as file:
        file.seek(first)
        data, footer = file.read(length), file.read(_FOOTER)
    if len(footer) < _FOOTER or masked(crc32c(data)) != struct.unpack("<I", footer)[0]:
        raise DataError(
            f"{path}: the record at byte {first} does not fit its checksum; copy the file again"
        )
    return data


FeatureList = list[bytes] | NDArray[np.float32] | NDArray[np.int64]


def read_example(data: bytes, where: str) -> dict[str, FeatureList]:
    """The features of a serialised `tf.train.Example`.

    Raises:
        DataError: it is no Example.
    """
    try:
        return {
            name: _values(feature)
            for features in _fields(memoryview(data), 1)
            for entry in _fields(features, 1)
            for name, feature in [_entry(entry)]
        }
    except (IndexError, ValueError, StopIteration) as error:
        raise DataError(f"{where} is no tf.train.Example ({error})") from error


def _entry(entry: memoryview) -> tuple[str, memoryview]:
    """Key and value of an entry of the map."""
    key, value = next(_fields(entry, 1)), next(_fields(entry, 2), memoryview(b""))
    return bytes(key).decode(), value


def _values(feature: memoryview) -> FeatureList:
    """The list of a feature: bytes (1), floats (2) or whole numbers (3)."""
    for found in _fields(feature, 1):
        return [bytes(each) for each in _fields(found, 1)]
    for found in _fields(feature, 2):
        parts = [np.frombuffer(each, "<f4") for each in _fields(found, 1)]
        return np.concatenate(parts) if parts else np.zeros(0, np.float32)
    for found in _fields(feature, 3):
        numbers = [number for each in _fields(found, 1) for number in _varints(each)]
        return np.array(numbers, np.uint64).astype(np.int64)
    return []


def _fields(message: memoryview, number: int) -> Iterator[memoryview]:
    """The contents of every field `number` of a message; of numbers, their coded bytes.

    Raises:
        ValueError: the message ends within a field.
    """
    place = 0
    while place < len(message):
        tag, place = _varint(message, place)
        begin, wire = place, tag & 7
        if wire == 2:
            length, begin = _varint(message, place)
            place = begin + length
        elif wire == 0:
            place = _varint(message, place)[1]
        elif wire in (1, 5):
            place += 8 if wire == 1 else 4
        else:
            raise ValueError(f"wire type {wire}")
        if place > len(message):
            raise ValueError("a field ends beyond its message")
        if tag >> 3 == number:
            yield message[begin:place]


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    """A number of seven bits a byte, and the place after it."""
    value = shift = 0
    while True:
        byte = message[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, place


def _varints(packed: memoryview) -> Iterator[int]:
    place = 0
    while place < len(packed):
        value, place = _varint(packed, place)
        yield value
