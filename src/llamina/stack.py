"""`build_stack([layers], transport)`: the layers round a transport, as one handler.

    stack = build_stack([Retry(attempts=3), Timeout(30)], transport)
    #                    outermost: sees the request first
    response = await stack(request)
    async with stack.stream(request) as stream: ...

The one surprise: a stack that is entered (`async with stack:`) closes its layers and its transport when it is left; a
stack that is only called closes nothing.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Coroutine, Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, cast

from .edge import belongs_to_call, open_call
from .errors import ConfigurationError
from .layer import Layer
from .protocol import Handler, Middleware, Request, Response
from .record import record
from .stream import Stream

if TYPE_CHECKING:
    from .blocking import BlockingStack

__all__ = ["Stack", "build_stack"]


def build_stack(
    layers: Iterable[Middleware],
    transport: Handler,
    *,
    check: Literal["warn", "error", "off"] = "warn",
    hold_streams: bool = False,
    stream_buffer: int = 64,
) -> Stack:
    """Compose *layers*, outermost first, round *transport*.

    Args:
        layers: callables `Handler -> Handler`; the first sees the request first.
        transport: what answers: a transport, another stack, any `async def handler(request) -> Response`.
        check: what to do about an order of layers that is known to be wrong: warn (`StackOrderWarning`), refuse it, or
            nothing. It costs at construction only.
        hold_streams: deliver a stream only after it was checked against the Response (for layers you do not trust).
        stream_buffer: events that a consumer may lag behind before the producer waits.

    Raises:
        ConfigurationError: a layer or the transport cannot be called the way it must be; with `check="error"` also an
            order that is wrong.
    """
    if check not in ("warn", "error", "off"):
        raise ConfigurationError(f"build_stack.check must be 'warn', 'error' or 'off', got {check!r}")
    given: Any = layers
    if not isinstance(given, Iterable) or isinstance(given, str):
        raise ConfigurationError(
            f"build_stack.layers must be a list of layers, got {type(layers).__name__}; "
            "write build_stack([Cache(), Retry()], transport)"
        )
    stack = Stack(tuple(layers), transport, hold_streams=hold_streams, stream_buffer=stream_buffer)
    stack.check = check
    if check != "off":
        from .order import enforce  # what is built bare, with nothing to check, does not load the rules

        enforce(stack, refuse=check == "error", stacklevel=3, nested=False)  # a stack in it was checked itself
    return stack


class Stack:
    """Layers round a transport: a handler, and an async context manager that closes what it is made of."""

    records_attempts = True
    check: Literal["warn", "error", "off"] = "warn"
    """What `build_stack` was to do about a wrong order; a written stack says it again."""

    def __init__(
        self, layers: tuple[Middleware, ...], transport: Handler, *, hold_streams: bool = False, stream_buffer: int = 64
    ) -> None:
        _check(layers, transport)
        if not isinstance(stream_buffer, int) or stream_buffer < 1:
            raise ConfigurationError(f"build_stack.stream_buffer must be at least 1 event, got {stream_buffer!r}")
        self.layers = layers
        self.transport = transport
        self._hold = hold_streams
        self._buffer = stream_buffer
        self._closed = False
        handler = transport if getattr(transport, "records_attempts", False) else record(transport)
        for layer in reversed(layers):
            handler = layer.wrap(handler) if isinstance(layer, Layer) else layer(handler)
            if not callable(handler):
                raise ConfigurationError(
                    f"{_name(layer)} returned {type(handler).__name__} when it was given the next handler; "
                    "a layer returns an async function that takes a request"
                )
        self._handler = handler

    def __call__(self, request: Request) -> Coroutine[Any, Any, Response]:
        """Send *request* through the layers; await the complete Response."""
        if type(request) is Request and request.call is None:  # the common case, without a call more
            return open_call(self._handler, request, hold=self._hold)
        if belongs_to_call(request):
            return cast("Coroutine[Any, Any, Response]", self._handler(request))
        return open_call(self._handler, request, hold=self._hold)

    def stream(self, request: Request) -> Stream:
        """Send *request* and read its events: `async with stack.stream(request) as stream: async for event in ...`."""
        belongs_to_call(request)
        return Stream(self._handler, request, buffer=self._buffer, hold=self._hold)

    def blocking(self) -> BlockingStack:
        """This stack without `await`, for sync code, notebooks and threads; all of them share one event loop."""
        # By name: a face stands above the stack, which must not depend on it.
        return cast("BlockingStack", importlib.import_module("llamina.blocking").BlockingStack(self))

    def explain(self, request: Request | None = None) -> str:
        """The stack as a tree, with what each layer does; with a *request*, what it will do for that one."""
        return cast("str", importlib.import_module("llamina.explain").explain(self, request))

    def draw(self) -> str:
        """The stack as a Mermaid flowchart, for a page or a notebook; `llamina draw` makes a picture of it."""
        return cast("str", importlib.import_module("llamina.draw").mermaid(self))

    def to_config(self) -> dict[str, Any]:
        """The stack as plain data, as `load_stack` takes it; secrets are left out or named by their variable.

        Raises:
            ConfigurationError: a part cannot be said in plain data (a function, an object of yours); names which.
        """
        return cast("dict[str, Any]", importlib.import_module("llamina.config").to_config(self))

    def stats(self) -> dict[str, Any]:
        """What every layer has counted, under dotted names; a second layer of one kind is numbered (`retry#2.`)."""
        gathered: dict[str, Any] = {}
        seen: dict[str, int] = {}
        for part in (*self.layers, self.transport):
            stats = getattr(part, "stats", None)
            if stats is None:
                continue
            counted: Mapping[str, Any] = stats()
            for family in dict.fromkeys(name.partition(".")[0] for name in counted):
                seen[family] = seen.get(family, 0) + 1
            for name, value in counted.items():
                family, dot, rest = name.partition(".")
                number = seen[family]
                gathered[name if number == 1 else f"{family}#{number}{dot}{rest}"] = value
        return gathered

    async def aclose(self) -> None:
        """Close the layers, outermost first, and the transport, once; background work of a layer is drained."""
        if self._closed:
            return
        self._closed = True
        errors: list[Exception] = []
        interrupted: BaseException | None = None
        for part in {id(part): part for part in (*self.layers, self.transport)}.values():
            close = getattr(part, "aclose", None)
            if close is None:
                continue
            try:
                await close()
            except Exception as error:  # noqa: BLE001 - the others must be closed too; raised below
                errors.append(error)
            except BaseException as error:  # noqa: BLE001 - a cancellation too must not leave the others open
                interrupted = error
        if interrupted is not None:
            raise interrupted
        if len(errors) == 1:
            raise errors[0]
        if errors:
            raise ExceptionGroup("several parts of the stack could not be closed", errors)

    async def __aenter__(self) -> Self:
        self._closed = False  # entered again, it is closed again: parts may have opened something anew
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def __str__(self) -> str:
        lines = ["Stack"]
        lines += [f"├─ {_picture(layer)}" for layer in self.layers]
        below = str(self.transport) if isinstance(self.transport, Stack) else _picture(self.transport)
        first, *rest = below.splitlines()
        return "\n".join([*lines, f"└─ {first}", *(f"   {line}" for line in rest)])

    def __repr__(self) -> str:
        return f"<Stack {' > '.join([_name(part) for part in (*self.layers, self.transport)])}>"


def _name(part: Any) -> str:
    return str(getattr(part, "__name__", None) or type(part).__name__)


def _picture(part: Any) -> str:
    return _name(part) if inspect.isroutine(part) else repr(part)


def _answers(part: Any) -> bool:
    """Whether *part* is no layer but a handler: a transport, a stack. A layer takes the next handler, not a request."""
    if isinstance(part, Stack):
        return True
    if inspect.isroutine(part):
        return False
    return next(iter(_parameters(part)), "") == "request" or inspect.iscoroutinefunction(type(part).__call__)


def _parameters(function: Any) -> dict[str, Any]:
    try:
        return dict(inspect.signature(function).parameters)
    except (TypeError, ValueError):  # a callable without a signature
        return {}


def _takes_handler(function: Any) -> bool:
    try:
        inspect.signature(function).bind(None)
    except TypeError:
        return False
    except ValueError:  # a callable without a signature
        return True
    return True


def _check(layers: tuple[Any, ...], transport: Any) -> None:
    for place, layer in enumerate(layers):
        where = f"build_stack.layers[{place}]"
        if isinstance(layer, type):
            raise ConfigurationError(f"{where} is the class {layer.__name__}; build it: {layer.__name__}(...)")
        if _answers(layer):
            raise ConfigurationError(
                f"{where} is {_name(layer)}, which answers requests itself and so goes last: "
                "build_stack([Cache(), Retry()], transport)"
            )
        if inspect.iscoroutinefunction(layer):
            raise ConfigurationError(
                f"{where} is the async function {layer.__name__}; put @middleware above it to make it a layer"
            )
        if isinstance(layer, str):
            raise ConfigurationError(
                f"{where} must be a layer, got the text {layer!r}; build it, or give names to load_stack"
            )
        if not callable(layer):
            raise ConfigurationError(f"{where} must be a layer (Handler -> Handler), got {layer!r}")
        if inspect.isfunction(layer) and not _takes_handler(layer):
            raise ConfigurationError(
                f"{where} is the function {layer.__name__}, which does not take the next handler; "
                f"if it makes the layer, call it: {layer.__name__}(...)"
            )
    if isinstance(transport, type):
        raise ConfigurationError(f"build_stack.transport is the class {transport.__name__}; build it first")
    if isinstance(transport, Layer):
        raise ConfigurationError(
            f"build_stack.transport is {_name(transport)}, which is a layer; it goes into the list, and what answers last: "
            "build_stack([Cache(), Retry()], transport)"
        )
    if not callable(transport):
        raise ConfigurationError(
            f"build_stack.transport must be a handler (async Request -> Response), got {transport!r}"
        )
