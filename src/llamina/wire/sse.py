"""Server-sent events: bytes as they arrive in, the data of whole events out.

    decoder = SSEDecoder()
    for payload in decoder.feed(received):        # bytes, cut anywhere
        ...

As the WHATWG standard says (html.spec.whatwg.org, "Server-sent events", 9.2.6): lines end with LF, CR or CRLF, a byte
order mark at the start is skipped, comments and unknown fields are ignored, several `data` lines of an event are joined
by LF, and an event without the blank line at its end is no event. Field names other than `data` are not kept: the wires
that llamina speaks say the kind of an event inside its data.

The one surprise: payloads are bytes, for the JSON decoder. Nothing is decoded twice, and UTF-8 cut in the middle of a
letter does no harm.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from llamina.errors import MalformedResponseError

__all__ = ["SSEDecoder", "frame"]

_encode = msgspec.json.Encoder().encode
_BOM = b"\xef\xbb\xbf"


class SSEDecoder:
    """Reads one stream of events.

    Args:
        limit: the most bytes that one event may have (64 MiB), so that a stream without an end fills no memory.
    """

    __slots__ = ("_after_cr", "_fresh", "_limit", "_pending", "_size", "_start")

    def __init__(self, *, limit: int = 64 * 2**20) -> None:
        self._limit = limit
        self._fresh = True
        self._start = b""
        self._after_cr = False
        # An unfinished event is kept in pieces: joined at each arrival, an event that drips in would cost its square.
        self._pending: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[bytes]:
        """The data of the events that are complete with *data*.

        Raises:
            MalformedResponseError: one event is longer than the limit.
        """
        if self._fresh:
            data = self._start + data
            if len(data) < len(_BOM) and _BOM.startswith(data):
                self._start = data
                return []
            self._fresh = False
            data = data.removeprefix(_BOM)
        if self._after_cr or b"\r" in data:
            data = self._only_lf(data)
        pending = self._pending
        if not pending:
            *blocks, rest = data.split(b"\n\n")
        elif b"\n\n" in data or (data[:1] == b"\n" and pending[-1][-1:] == b"\n"):
            pending.append(data)
            *blocks, rest = b"".join(pending).split(b"\n\n")
            pending.clear()
            self._size = 0
        else:
            blocks, rest = [], data
        if rest:
            pending.append(rest)
            self._size += len(rest)
            if self._size > self._limit:
                raise MalformedResponseError(f"one event of the stream is longer than {self._limit} bytes")
        payloads = []
        for block in blocks:
            if block[:6] == b"data: " and b"\n" not in block:
                payloads.append(block[6:])
            elif (payload := _data(block)) is not None:
                payloads.append(payload)
        return payloads

    def _only_lf(self, data: bytes) -> bytes:
        """*data* with LF for every end of line; a CR at its end counts at once, an LF that follows it later does not."""
        if not data:
            return data
        if self._after_cr and data[:1] == b"\n":
            data = data[1:]
            if not data:
                self._after_cr = False
                return data
        self._after_cr = data[-1:] == b"\r"
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def _data(block: bytes) -> bytes | None:
    """The data of one event, None where it has none."""
    values = []
    for line in block.split(b"\n"):
        if line[:5] == b"data:":
            values.append(line[6:] if line[5:6] == b" " else line[5:])
        elif line == b"data":
            values.append(b"")
    return b"\n".join(values) if values else None


def frame(payloads: Iterable[Mapping[str, Any]], *, named: bool = False) -> bytes:
    """The bytes of events whose data are *payloads*; *named* puts the `type` of each into its `event` field too."""
    if named:
        return b"".join([b"event: %b\ndata: %b\n\n" % (p["type"].encode(), _encode(p)) for p in payloads])
    return b"".join([b"data: %b\n\n" % _encode(payload) for payload in payloads])
