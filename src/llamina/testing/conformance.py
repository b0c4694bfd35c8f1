"""The conformance kit: it tells whether a layer keeps the protocol.

    check_middleware(lambda: MyLayer(...))       # raises ConformanceError, which names every clause that was broken

Each check builds a fresh layer with *factory*, puts it round a fake provider and plays one situation in simulated time:
plain and streamed calls, failures, cancellations injected at every point at which the call waits, many calls at once.

The one surprise: a layer may refuse a request (a limiter, a filter); give such a layer a *request* that it lets through.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from llamina.errors import ConfigurationError
from llamina.layer import Layer
from llamina.protocol import Handler, Middleware, Request
from llamina.stack import build_stack

from ._bench import Bench, Clause
from ._handler_clauses import HANDLER
from ._middleware_clauses import MIDDLEWARE
from ._report import Broken, ConformanceError, Report, judge
from .clock import one_freeze, simulated_time
from .fake import FakeTransport

__all__ = [
    "Broken",
    "ConformanceError",
    "build_once",
    "check_handler",
    "check_middleware",
    "examine_handler",
    "examine_layer",
]


def check_middleware(
    factory: Callable[[], Middleware], *, request: Request | None = None, only: Iterable[str] | None = None
) -> list[str]:
    """Run every check against the layers that *factory* builds; the names of the clauses that held.

    Args:
        factory: builds a fresh layer; called once or more per check.
        request: a chat request that the layer lets through; by default a short greeting.
        only: names of clauses, to play these alone.

    Raises:
        ConformanceError: clauses were broken; the message and `.broken` say which and how.
        ConfigurationError: *factory* does not build a layer, or *only* names a clause that there is not.
    """
    return examine_layer(factory, request=request, only=only).names()


def examine_layer(
    factory: Callable[[], Middleware], *, request: Request | None = None, only: Iterable[str] | None = None
) -> Report:
    """As `check_middleware`, with a verdict on each clause in place of an error."""
    asked = request if request is not None else _greeting()
    subject = build_once("check_middleware", factory)
    build_stack([subject], FakeTransport(), check="off")  # refuses, in good words, what is no layer

    def play(clause: Clause) -> None:
        if not inspect.iscoroutinefunction(clause.check):  # it has its own loops
            clause.check(Bench(factory, asked))
            return

        async def on_a_bench() -> None:
            bench = Bench(factory, asked)
            try:
                await clause.check(bench)
            finally:
                await bench.close()

        _in_loop(on_a_bench(), simulated=True)

    with one_freeze(), _quiet():
        return judge(_name(subject), MIDDLEWARE.entries, play, only=only, first_is_basic=True)


def check_handler(
    handler: Handler, *, request: Request | None = None, simulated: bool = True, only: Iterable[str] | None = None
) -> list[str]:
    """Run the checks for a terminal, a stack or any handler that answers; the names of the clauses that held.

    Args:
        handler: answers *request* every time it is asked.
        request: what to ask; by default a short greeting to the model "model".
        simulated: play in simulated time; False for a handler that talks to a real socket in real time.
        only: names of clauses, to play these alone.

    Raises:
        ConformanceError: clauses were broken; the message and `.broken` say which and how.
    """
    return examine_handler(handler, request=request, simulated=simulated, only=only).names()


def examine_handler(
    handler: Handler, *, request: Request | None = None, simulated: bool = True, only: Iterable[str] | None = None
) -> Report:
    """As `check_handler`, with a verdict on each clause in place of an error."""
    asked = request if request is not None else _greeting()
    build_stack([], handler)  # refuses, in good words, what is no handler

    def play(clause: Clause) -> None:
        _in_loop(clause.check(build_stack([], handler), asked), simulated=simulated)

    with one_freeze() if simulated else nullcontext(), _quiet():
        # A server in real time may not have been set up for vectors.
        entries = HANDLER.entries if simulated or only is not None else HANDLER.without("embeds-or-refuses")
        return judge(_name(handler), entries, play, only=only, first_is_basic=True)


def build_once(who: str, factory: Any) -> Any:
    """What *factory* builds, with a good word for what is no factory.

    Raises:
        ConfigurationError: it is what it should build, it needs arguments, or it returns None.
    """
    if isinstance(factory, Layer):
        name = type(factory).__name__
        raise ConfigurationError(f"{who} takes a factory, got a {name}; write lambda: {name}(...)")
    if not callable(factory):
        raise ConfigurationError(
            f"{who} takes a factory, a function without arguments that builds what is checked; "
            f"got {factory!r}; write lambda: ..."
        )
    needed = needs(factory)
    if needed:
        name = _name(factory)
        if is_layer_itself(factory):
            raise ConfigurationError(f"{who} takes a factory, got the layer {name} itself; write lambda: {name}")
        raise ConfigurationError(
            f"{who} calls the factory without arguments, and {name} needs {', '.join(needed)}; "
            f"write lambda: {name}({', '.join([f'{each}=...' for each in needed])})"
        )
    built = factory()
    if built is None:
        raise ConfigurationError(
            f"the factory {_name(factory)} given to {who} returned None; does it lack a `return`, or is it a function "
            "that should be built from, as in lambda: MyLayer(...)?"
        )
    return built


def needs(factory: Any) -> list[str]:
    """The names of the parameters that *factory* cannot be called without."""
    try:
        parameters = inspect.signature(factory).parameters.values()
    except (TypeError, ValueError):
        return []
    given = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [each.name for each in parameters if each.default is each.empty and each.kind not in given]


def is_layer_itself(thing: Any) -> bool:
    """Whether *thing* looks like a layer, not like what builds one: it is no class and takes the next handler."""
    needed = needs(thing)
    if isinstance(thing, type) or len(needed) != 1:
        return False
    wanted = inspect.signature(thing).parameters[needed[0]]
    return "Handler" in str(wanted.annotation) or needed[0] in ("call_next", "handler", "inner", "next_handler")


def _greeting() -> Request:
    return Request.chat("model", "hello", tags={"user": "ada"})


def _name(subject: Any) -> str:
    return str(getattr(subject, "__qualname__", None) or type(subject).__name__)


@contextmanager
def _quiet() -> Iterator[None]:
    """Where nobody has set up logging, keep warnings of the subject off the terminal: they are part of the play."""
    root, silent = logging.getLogger(), logging.NullHandler()
    if root.handlers:
        yield
        return
    root.addHandler(silent)
    try:
        yield
    finally:
        root.removeHandler(silent)


def _in_loop(call: Coroutine[Any, Any, None], *, simulated: bool) -> None:
    if not simulated:
        asyncio.run(call)
        return
    # What is left running is the finding of one clause, and must not hide those of the others.
    with simulated_time(allow_leaks=True) as clock:
        clock.run(call)
