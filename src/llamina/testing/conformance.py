"""The conformance kit: it tells whether a layer keeps the protocol.

    check_middleware(lambda: MyLayer(...))       # raises ConformanceError, which names every clause that was broken

Each check builds a fresh layer with *factory*, puts it round a fake provider and plays one situation in simulated time:
plain and streamed calls, failures, cancellations injected at every point at which the call waits, many calls at once.

The one surprise: a layer may refuse a request (a limiter, a filter); give such a layer a *request* that it lets through.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from attrs import frozen

from llamina.errors import ConfigurationError
from llamina.layer import Layer
from llamina.protocol import Handler, Middleware, Request
from llamina.stack import build_stack

from ._bench import Bench, Seen
from ._handler_clauses import HANDLER
from ._middleware_clauses import MIDDLEWARE
from .clock import simulated_time

__all__ = ["Broken", "ConformanceError", "check_handler", "check_middleware"]


@frozen
class Broken:
    """One clause of the protocol that was broken, and how it showed."""

    clause: str
    says: str
    seen: str

    def __str__(self) -> str:
        return f"{self.clause}: {self.says}\n    seen: {self.seen}"


class ConformanceError(AssertionError):
    """What was checked does not keep the protocol; `broken` lists the clauses."""

    def __init__(self, subject: str, broken: list[Broken], of: str = "the protocol") -> None:
        self.broken = broken
        count = f"{len(broken)} clause{'s' if len(broken) != 1 else ''}"
        super().__init__(f"{subject} breaks {count} of {of}:\n" + "\n".join([f"  {one}" for one in broken]))


def check_middleware(factory: Callable[[], Middleware], *, request: Request | None = None) -> list[str]:
    """Run every check against the layers that *factory* builds; the names of the clauses that held.

    Args:
        factory: builds a fresh layer; called once or more per check.
        request: a chat request that the layer lets through; by default a short greeting.

    Raises:
        ConformanceError: clauses were broken; the message and `.broken` say which and how.
    """
    asked = request if request is not None else _greeting()
    given: Any = factory
    if isinstance(given, Layer):
        name = type(given).__name__
        raise ConfigurationError(f"check_middleware takes a factory, got a {name}; write lambda: {name}(...)")
    subject = factory()

    def play(check: Callable[..., Any]) -> None:
        async def on_a_bench() -> None:
            bench = Bench(factory, asked)
            try:
                await check(bench)
            finally:
                await bench.close()

        _in_loop(on_a_bench(), simulated=True)

    return _report(MIDDLEWARE.entries, play, _name(subject))


def check_handler(handler: Handler, *, request: Request | None = None, simulated: bool = True) -> list[str]:
    """Run the checks for a terminal, a stack or any handler that answers; the names of the clauses that held.

    Args:
        handler: answers *request* every time it is asked.
        request: what to ask; by default a short greeting to the model "model".
        simulated: play in simulated time; False for a handler that talks to a real socket in real time.

    Raises:
        ConformanceError: clauses were broken; the message and `.broken` say which and how.
    """
    asked = request if request is not None else _greeting()

    def play(check: Callable[..., Any]) -> None:
        _in_loop(check(build_stack([], handler), asked), simulated=simulated)

    return _report(HANDLER.entries, play, _name(handler))


def _greeting() -> Request:
    return Request.chat("model", "hello", tags={"user": "ada"})


def _name(subject: Any) -> str:
    return str(getattr(subject, "__qualname__", None) or type(subject).__name__)


def _report(entries: list[tuple[str, str, Any]], play: Callable[[Any], None], subject: str) -> list[str]:
    broken: list[Broken] = []
    for name, says, check in entries:
        try:
            play(check)
        except Seen as seen:
            broken.append(Broken(name, says, str(seen)))
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001 - whatever is raised is a finding
            broken.append(Broken(name, says, f"{type(error).__name__}: {error}"))
    if broken:
        raise ConformanceError(subject, broken)
    return [name for name, _, _ in entries]


def _in_loop(call: Coroutine[Any, Any, None], *, simulated: bool) -> None:
    if not simulated:
        asyncio.run(call)
        return
    with simulated_time() as clock:
        clock.run(call)
