"""Length-prefixed JSON frames over sockets and pipes: 4 bytes big-endian length, then UTF-8 JSON.

The reader of a frame decides how long it may be; an oversized, torn or non-JSON frame raises :class:`FrameError`
and the peer is given up. JSON only, never pickle: what comes from an interpreter is hostile.
"""

import json
import os
import select
import struct
from json.encoder import c_make_encoder, encode_basestring_ascii  # type: ignore[attr-defined]
from typing import Any

HEADER = struct.Struct(">I")
MAX_FRAME = 4 << 20
"""Longest frame accepted anywhere, in bytes."""

Frame = dict[str, Any]
# A cell's frames are coded in a few microseconds: no encoder built per text, no white space looked for.
_chunks = c_make_encoder(None, None, encode_basestring_ascii, None, ":", ",", False, False, True)
_decode = json.JSONDecoder().raw_decode


class FrameError(Exception):
    """The peer broke the protocol."""


def encode(frame: Frame) -> bytes:
    """The frame as bytes; text stays ASCII so that lone surrogates survive the trip as escapes."""
    body = "".join(_chunks(frame, 0)).encode()
    if len(body) > MAX_FRAME:
        raise FrameError(f"frame of {len(body)} bytes")
    return HEADER.pack(len(body)) + body


def decode(body: bytes) -> Frame:
    """A frame's body as a dict.

    Raises:
        FrameError: Not JSON, nested too deeply, or not an object.
    """
    try:
        text = body.decode()
        frame, end = _decode(text)
    except (ValueError, RecursionError) as error:
        raise FrameError(f"not JSON: {type(error).__name__}") from error
    if type(frame) is not dict or end != len(text):
        raise FrameError("not an object")
    return frame


class Buffer:
    """Collects bytes and hands out whole frames."""

    def __init__(self, limit: int = MAX_FRAME) -> None:
        self._data = bytearray()
        self._limit = limit

    def whole(self, data: bytes) -> bool:
        """Whether these bytes are exactly the next frame, as they nearly always are."""
        return not self._data and len(data) >= HEADER.size and len(data) == HEADER.size + HEADER.unpack_from(data)[0]

    def feed(self, data: bytes) -> list[Frame]:
        """Add bytes; returns the frames they complete.

        Raises:
            FrameError: A frame is too long or malformed.
        """
        if self.whole(data):
            return [decode(data[HEADER.size :])]
        self._data += data
        found = []
        while len(self._data) >= HEADER.size:
            (length,) = HEADER.unpack_from(self._data)
            if length > self._limit:
                raise FrameError(f"frame of {length} bytes, limit {self._limit}")
            end = HEADER.size + length
            if len(self._data) < end:
                break
            found.append(decode(bytes(self._data[HEADER.size : end])))
            del self._data[:end]
        return found


def read_exactly(fd: int, count: int) -> bytes:
    """``count`` bytes from a blocking descriptor; fewer only at its end."""
    data = os.read(fd, count)
    while data and len(data) < count:
        more = os.read(fd, count - len(data))
        if not more:
            break
        data += more
    return data


def read_frame(fd: int) -> Frame | None:
    """The next frame from a blocking descriptor; ``None`` at its end."""
    header = read_exactly(fd, HEADER.size)
    if len(header) < HEADER.size:
        return None
    return decode(read_exactly(fd, HEADER.unpack(header)[0]))


def write_frame(fd: int, frame: Frame) -> None:
    """Write a whole frame, waiting where the descriptor is full (blocking or not)."""
    data: bytes | memoryview = encode(frame)
    while data:
        try:
            sent = os.write(fd, data)
        except BlockingIOError:
            select.select([], [fd], [])
        else:
            data = memoryview(data)[sent:] if sent < len(data) else b""
