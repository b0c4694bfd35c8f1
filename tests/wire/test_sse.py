"""Server-sent events: what the standard says, however the bytes are cut."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from llamina import MalformedResponseError
from llamina.wire.sse import SSEDecoder


def read(data: bytes, cuts: list[int] | None = None) -> list[bytes]:
    """All payloads of *data*, which arrives in pieces."""
    edges = sorted({0, len(data), *[cut % (len(data) + 1) for cut in cuts or ()]})
    decoder = SSEDecoder()
    return [payload for begin, end in itertools.pairwise(edges) for payload in decoder.feed(data[begin:end])]


def by_the_letter(data: bytes) -> list[bytes]:
    """The algorithm of the standard, a line at a time, as slow and as plain as it is written there."""
    text = data.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    *lines, _unfinished = text.split(b"\n")
    buffer, payloads = b"", []
    for line in lines:
        if line == b"":
            if buffer != b"":
                payloads.append(buffer.removesuffix(b"\n"))
            buffer = b""
        elif line.startswith(b":"):
            continue
        else:
            name, _, value = line.partition(b":")
            if name == b"data":
                buffer += value.removeprefix(b" ") + b"\n"
    return payloads


@pytest.mark.parametrize(
    ("data", "payloads"),
    [
        (b"data: one\n\ndata: two\n\n", [b"one", b"two"]),
        (b"data:one\n\ndata:  two\n\n", [b"one", b" two"]),
        (b"data: a\r\n\r\ndata: b\r\rdata: c\n\n", [b"a", b"b", b"c"]),
        (b"\xef\xbb\xbfdata: marked\n\n", [b"marked"]),
        (b": a comment\n\ndata: x\n: another\n\n", [b"x"]),
        (b"event: delta\nid: 7\nretry: 10\ndata: x\n\n", [b"x"]),
        (b"data: one\ndata: two\n\n", [b"one\ntwo"]),
        (b"data\n\ndata\ndata\n\ndata:", [b"", b"\n"]),
        (b"database: no\n\n data: no\n\n", []),
        (b"event: lonely\n\n", []),
        (b"data: unfinished\n", []),
        (b"\n\n\ndata: x\n\n\n\n", [b"x"]),
    ],
)
def test_events_are_read_as_the_standard_says(data: bytes, payloads: list[bytes]) -> None:
    """Ends of lines, spaces, comments, other fields, several lines, an end without a blank line."""
    assert read(data) == payloads


PIECES = st.sampled_from(
    [
        b"data: ",
        b"data:",
        b"data",
        b"x",
        b"\xc3\xa9",
        b"\n",
        b"\r",
        b"\r\n",
        b"\n\n",
        b": c",
        b"event: e",
        b"\xef\xbb\xbf",
    ]
)


@given(st.lists(PIECES, max_size=30).map(b"".join), st.lists(st.integers(0, 200), max_size=12))
@example(b"data: x\r\n\r\ndata: y\r\n\r\n", list(range(40)))
@example(b"\xef\xbb\xbfdata: x\n\n", [1, 2])
def test_how_the_bytes_are_cut_makes_no_difference(data: bytes, cuts: list[int]) -> None:
    """Any bytes, cut anywhere, give what the standard's own algorithm gives for the whole."""
    assert read(data, cuts) == by_the_letter(data)


def test_an_event_is_given_as_soon_as_it_is_complete() -> None:
    """A CR at the end of what arrived counts at once; the LF that may follow it does not hold the event up."""
    decoder = SSEDecoder()

    first = decoder.feed(b"data: now\r\n\r")
    then = decoder.feed(b"\ndata: later\n\n")

    assert first == [b"now"]
    assert then == [b"later"]


def test_an_event_without_an_end_fills_no_memory() -> None:
    """Beyond the limit the stream is malformed."""
    decoder = SSEDecoder(limit=1000)
    assert [decoder.feed(b"data: and on ") for _ in range(76)] == [[]] * 76

    with pytest.raises(MalformedResponseError, match="longer than 1000 bytes"):
        decoder.feed(b"data: and on ")
