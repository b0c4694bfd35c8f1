"""Wrong handlers, stores and backoffs."""

from __future__ import annotations

import asyncio
import itertools
import random
from typing import Any

from llamina import Message, Request, Response, TextDelta, Usage
from llamina.policy.backoff import Exponential
from llamina.stores import Entry, MemoryCache
from zoo import Wrong


async def _stream(request: Request, *pieces: str) -> None:
    out = request.begin()
    for piece in pieces:
        await out.send(TextDelta(piece))


async def says_half(request: Request) -> Response:
    """Returns the last piece of the stream, not the whole."""
    await _stream(request, "Hel", "lo")
    return Response.of("lo", usage=Usage(1, 1))


async def ends_without_a_reason(request: Request) -> Response:
    """Returns before the answer is complete."""
    return Response(Message.assistant("hel"), Usage(1, 1))


async def has_a_favourite_parameter(request: Request) -> Response:
    """Passes parameters to a function of its own that takes the ones it knows."""

    def send(temperature: float = 1.0) -> str:
        return "hello"

    return Response.of(send(**request.params), usage=Usage(1, 1))


async def cannot_be_cancelled(request: Request) -> Response:
    """Retries whatever happens, cancellation too."""
    try:
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    except asyncio.CancelledError:
        pass
    return Response.of("hello", usage=Usage(1, 1))


async def begins_for_each_event(request: Request) -> Response:
    """Asks for a writer whenever it has something to say."""
    for piece in ("", ""):
        await request.begin().send(TextDelta(piece))
    await _stream(request, "hello")
    return Response.of("hello", usage=Usage(1, 1))


async def answers_everything_with_words(request: Request) -> Response:
    """Does not look at the kind of the request."""
    return Response.of("hello", usage=Usage(1, 1))


def answers_once() -> Any:
    """Keeps a connection that is at its end after the first answer."""
    calls = itertools.count()

    async def handle(request: Request) -> Response:
        await asyncio.sleep(0.01 if next(calls) < 6 else 0)
        if next(calls) > 8:
            raise ConnectionError("the session is closed")
        return Response.of("hello", usage=Usage(1, 1))

    return handle


HANDLERS = {
    "stream is not the response": Wrong(lambda: says_half, "stream-is-the-response"),
    "answer without an end": Wrong(lambda: ends_without_a_reason, "complete-response"),
    "unknown parameter refused": Wrong(lambda: has_a_favourite_parameter, "request-is-a-value"),
    "cancellation swallowed": Wrong(lambda: cannot_be_cancelled, "cancellation"),
    "a writer for each event": Wrong(lambda: begins_for_each_event, "one-writer-an-attempt"),
    "words for vectors": Wrong(lambda: answers_everything_with_words, "embeds-or-refuses"),
    "connection lost after some calls": Wrong(answers_once, "concurrent-use"),
}


class Everlasting(MemoryCache):
    """Takes the time to live and forgets it."""

    async def set(self, key: str, value: bytes, /, *, ttl: float | None = None, stale: float = 0.0) -> None:
        """Keep *value*."""
        await super().set(key, value)


class Folding(MemoryCache):
    """A database whose strings are compared without case."""

    async def get(self, key: str, /) -> Entry | None:
        """The entry."""
        return await super().get(key.lower())

    async def set(self, key: str, value: bytes, /, *, ttl: float | None = None, stale: float = 0.0) -> None:
        """Keep *value*."""
        await super().set(key.lower(), value, ttl=ttl, stale=stale)


class Sliding(MemoryCache):
    """Reading renews the time, as a session's."""

    async def get(self, key: str, /) -> Entry | None:
        """The entry."""
        entry = await super().get(key)
        if entry is not None:
            await super().set(key, entry.value, ttl=10.0)
        return entry


class Sweeping(MemoryCache):
    """Clears by a pattern in which the characters of a key have a meaning."""

    async def clear(self, prefix: str = "", /) -> None:
        """Forget everything, where the prefix is a pattern."""
        await super().clear("" if set(prefix) & set("*?[]%_") else prefix)


class Wordy(MemoryCache):
    """Decodes what it keeps."""

    async def get(self, key: str, /) -> Entry | None:
        """The entry."""
        entry = await super().get(key)
        return entry and Entry(entry.value.decode("utf-8", "replace").encode(), entry.age, entry.fresh)


STORES = {
    "time to live forgotten": Wrong(Everlasting, "gone-at-its-time"),
    "keys compared without case": Wrong(Folding, "keys-are-exact"),
    "time renewed by reading": Wrong(Sliding, "reading-prolongs-nothing"),
    "prefix taken for a pattern": Wrong(Sweeping, "clear-goes-by-prefix"),
    "bytes taken for text": Wrong(Wordy, "bytes-come-back", MemoryCache),
}


class Power:
    """Doubles without a bound: after some hundred tries the power is no float."""

    def delay(self, attempt: int, error: BaseException | None = None, previous: float | None = None) -> float:
        """Seconds to wait."""
        return min(30.0, 0.5 * 2.0**attempt)


class Uncapped:
    """Grows with every try."""

    def delay(self, attempt: int, error: BaseException | None = None, previous: float | None = None) -> float:
        """Seconds to wait."""
        return 10.0 * attempt


class JitterAboveTheCap:
    """Caps first, and spreads upwards after."""

    cap = 30.0

    def delay(self, attempt: int, error: BaseException | None = None, previous: float | None = None) -> float:
        """Seconds to wait."""
        return min(self.cap, 0.5 * 2.0 ** min(attempt, 100)) * random.uniform(0.8, 1.2)


class NegativeJitter:
    """Spreads round nothing."""

    def delay(self, attempt: int, error: BaseException | None = None, previous: float | None = None) -> float:
        """Seconds to wait."""
        return min(attempt, 5) - 1 + random.uniform(-0.5, 0.5)


class CountsByItself:
    """Keeps the number of the try, for all calls together."""

    def __init__(self) -> None:
        self.tries = 0

    def delay(self, attempt: int, error: BaseException | None = None, previous: float | None = None) -> float:
        """Seconds to wait."""
        self.tries += 1
        return min(30.0, 0.5 * self.tries)


class CountsOnTheClass(CountsByItself):
    """And even for all objects."""

    count = itertools.count(1)

    def delay(self, attempt: int, error: BaseException | None = None, previous: float | None = None) -> float:
        """Seconds to wait."""
        return min(1e4, 0.5 * next(self.count))


class FromTheSystem:
    """Draws from a source that nobody can seed."""

    def delay(self, attempt: int, error: BaseException | None = None, previous: float | None = None) -> float:
        """Seconds to wait."""
        return random.SystemRandom().random()


class Waits:
    """Sleeps itself."""

    async def delay(self, attempt: int, error: BaseException | None = None, previous: float | None = None) -> float:
        """Seconds to wait."""
        await asyncio.sleep(attempt)
        return 0.0


BACKOFFS = {
    "power beyond a float": Wrong(Power, "many-tries", Exponential),
    "growth without an end": Wrong(Uncapped, "capped"),
    "jitter above the cap": Wrong(JitterAboveTheCap, "capped"),
    "negative waits": Wrong(NegativeJitter, "delays-are-seconds"),
    "tries counted by itself": Wrong(CountsByItself, "counts-nothing"),
    "state on the class": Wrong(CountsOnTheClass, "shares-nothing"),
    "chance that cannot be seeded": Wrong(FromTheSystem, "reproducible"),
    "waiting in place of telling": Wrong(Waits, "answers"),
}
