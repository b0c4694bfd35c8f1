"""Blocking streams: back-pressure, held time, readers who leave or vanish."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
from typing import Any

import pytest

from llamina import Client, Request, Response, Stack, TextDelta, build_stack
from llamina._blocking_loop import background
from llamina.testing import FakeTransport

REQUEST = Request.chat("m", "hi")


class Counted:
    """A provider that counts what it has sent, and says when it was cancelled and cleaned up."""

    def __init__(self, events: int) -> None:
        self.events = events
        self.sent = 0
        self.attempt: Any = None
        self.cleaned_up = threading.Event()

    async def __call__(self, request: Request) -> Response:
        out = request.begin()
        try:
            for self.sent in range(self.events):  # noqa: B020
                await out.send(TextDelta("x"))
            return Response.of("x" * self.events)
        finally:
            self.held = request.sink.held() if request.sink is not None else 0.0
            self.cleaned_up.set()


def settle() -> None:
    """Wait until the loop has done all that it can do now."""
    turns = iter(range(20))
    done = threading.Event()

    def turn() -> None:
        if next(turns, None) is None:
            done.set()
        else:
            background().loop.call_soon(turn)

    background().post(turn)
    assert done.wait(30)


def small(provider: Any, room: int = 4) -> Any:
    """A stack whose reader may lag behind by *room* events."""
    return build_stack([], provider, stream_buffer=room).blocking()


def test_a_slow_reader_slows_the_provider() -> None:
    """No more events are made than the buffer holds; none is lost."""
    provider = Counted(100)

    with small(provider).stream(REQUEST) as stream:
        events = [next(stream)]
        settle()
        assert provider.sent <= 6
        events += stream

    assert len(events) == 100


def test_time_in_which_the_reader_is_busy_is_held() -> None:
    """It is accounted as the reader's, as in the async stream."""
    provider = Counted(100)

    with small(provider).stream(REQUEST) as stream:
        settle()
        clock = background().loop.time
        begun = clock()
        while clock() - begun < 0.02:  # the reader works
            pass
        stream.complete()

    assert provider.held >= 0.02
    assert stream.call.attempts[0].held >= 0.02


def test_readers_and_providers_never_both_wait() -> None:
    """With hardly any room, each of thousands of events is a hand-over in which a wake-up could be lost."""
    stack = small(Counted(2000), room=1)

    def read(counts: list[int]) -> None:
        with stack.stream(REQUEST) as stream:
            counts.append(sum([1 for _ in stream]))

    counts: list[int] = []
    threads = [threading.Thread(target=read, args=(counts,), daemon=True) for _ in range(8)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # threads take turns at nearly every step
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
            if thread.is_alive():  # the others hang, too
                break
    finally:
        sys.setswitchinterval(interval)

    assert counts == [2000] * 8


def test_senders_side_by_side_lose_nothing() -> None:
    """A writer may be shared by tasks, all of which wait for room."""

    async def several(request: Request) -> Response:
        out = request.begin()
        await asyncio.gather(*[out.send(TextDelta("x")) for _ in range(500)])
        return Response.of("x" * 500)

    with small(several).stream(REQUEST) as stream:
        assert len(list(stream)) == 500


def test_leaving_waits_until_the_call_is_cleaned_up() -> None:
    """When the block is left, the provider has seen the cancellation and ended."""
    provider = Counted(10_000_000)

    with small(provider).stream(REQUEST) as stream:
        next(stream)

    assert provider.cleaned_up.is_set()
    assert stream.call.finished


def test_a_stream_that_nobody_holds_any_more_is_cancelled() -> None:
    """An iterator that is dropped without a close tells the provider, too."""
    provider = Counted(10_000_000)

    for _ in small(provider).stream(REQUEST).text:
        break
    gc.collect()

    assert provider.cleaned_up.wait(30)


def test_the_pieces_of_a_stream_that_is_held_elsewhere_are_left_with_their_iterator() -> None:
    """`.text` that has opened a stream leaves it when it is dropped, whoever holds the stream."""
    provider = Counted(10_000_000)
    stream = small(provider).stream(REQUEST)

    for _ in stream.text:
        break
    gc.collect()

    assert provider.cleaned_up.wait(30)
    assert list(stream.text) == []


def test_an_iterator_of_pieces_can_be_closed() -> None:
    """`close()` waits for the clean-up."""
    provider = Counted(10_000_000)
    pieces = small(provider).stream(REQUEST).text
    next(pieces)

    pieces.close()

    assert provider.cleaned_up.is_set()
    assert list(pieces) == []


def test_an_error_of_the_readers_own_code_goes_on_as_it_is() -> None:
    """The call is cancelled, and nothing else is raised in its place."""
    provider = Counted(10_000_000)

    with pytest.raises(ZeroDivisionError), small(provider).stream(REQUEST) as stream:
        next(stream)
        1 / 0  # noqa: B018

    assert provider.cleaned_up.is_set()


def test_a_stream_has_one_reader() -> None:
    """A second thread that reads while the first waits is refused; the first goes on."""
    go_on = asyncio.Event()
    waits = threading.Event()
    client = Client(FakeTransport([["a", go_on, "b"]]), model="m").blocking()
    seen: list[str] = []
    with client.stream("hi") as stream:
        next(stream)
        first = threading.Thread(target=lambda: seen.extend([event.text for event in stream]))
        first.start()
        while stream._far.bridge._reader is None:  # until the first one waits
            waits.wait(0.001)

        with pytest.raises(RuntimeError, match="one reader"):
            next(stream)
        background().post(go_on.set)
        first.join(30)

    assert seen == ["b"]


def test_a_checked_stream_is_held_back() -> None:
    """`hold_streams` of the stack holds for the blocking face too."""
    stack: Stack = build_stack([], FakeTransport([["Hel", "lo"]]), hold_streams=True)

    with stack.blocking().stream(REQUEST) as stream:
        assert "".join(event.text for event in stream) == "Hello"
