"""The protocol: a Request goes down, a complete Response comes back, and a layer wraps the next handler.

    Handler    = Callable[[Request], Awaitable[Response]]     # a transport, a stack, a fake: all the same thing
    Middleware = Callable[[Handler], Handler]                 # wraps the next handler

    @middleware
    async def no_shouting(request, call_next):
        if request.messages[-1].text.isupper():
            raise InvalidRequestError("please do not shout")
        return await call_next(request)

The one surprise: **the returned Response is always complete**, streamed or not. A caller who wants to stream puts a
sink on the request; the terminal pushes events into it while the call is in flight, and still returns the whole
Response. So a layer is written once and never asks whether the call streams.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, TypeAlias

import msgspec
from msgspec.structs import force_setattr, replace

from ._hints import no_field
from ._request_values import FrozenDict, checked_headers, checked_tags, messages_of, plain_tools
from .call import Call, Ledger
from .errors import ConfigurationError, InvalidRequestError
from .identity import IRRELEVANT, IRRELEVANT_HEADERS, differences, digest
from .messages import Message, Text, ToolCall, ToolResult, Usage
from .sink import Sink, Writer

__all__ = [
    "PROTOCOL_VERSION",
    "CacheControl",
    "Handler",
    "Middleware",
    "Request",
    "Response",
    "evolve",
    "expect_response",
    "explain_identity",
    "middleware",
]

PROTOCOL_VERSION = 1
"""Version of the protocol, apart from the library's: it changes when a layer would have to."""


class CacheControl(msgspec.Struct, frozen=True):
    """What one request asks of a cache: do not read, do not store, keep for *ttl* seconds."""

    no_cache: bool = False
    no_store: bool = False
    ttl: float | None = None


class Request(msgspec.Struct, frozen=True, eq=False):
    """A call to a model, as a value: never changed, copied with `evolve`.

    What is asked: `kind` ("chat", "embed"), `model`, `messages`, `params` (every further parameter, known or not, goes to the
    provider), `headers` (further HTTP headers for the provider; keys belong to the transport). Who asks: `tags`. What is path-scoped, so that every attempt and branch can have its own: `deadline`
    (a moment on the loop's clock), `sink`, `ledger`. What one logical call shares: `call`.
    """

    model: str
    messages: tuple[Message, ...] = ()
    params: Mapping[str, Any] = {}
    kind: str = "chat"
    tags: Mapping[str, str] = {}
    cache: CacheControl | None = None
    deadline: float | None = None
    sink: Sink | None = None
    ledger: Ledger | None = None
    call: Call | None = None
    headers: Mapping[str, str] = {}
    _identity: tuple[str, str, str, tuple[Message, ...], Mapping[str, Any], Mapping[str, str]] | None = None

    @classmethod
    def chat(
        cls,
        model: str,
        prompt: str | Message | Iterable[Message | str | Mapping[str, Any]],
        *,
        tags: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        **params: Any,
    ) -> Request:
        """A chat completion: *prompt* is a user's text or messages; *params* go to the provider as they are.

        Raises:
            InvalidRequestError: the model is no string, there is no message, one of them is none, or a header cannot
                be sent.
        """
        if not isinstance(model, str) or not model:
            raise InvalidRequestError(f"model must be the name of a model, got {model!r}")
        if "messages" in params:
            raise InvalidRequestError("the messages are the second argument: Request.chat(model, messages, ...)")
        messages = messages_of(prompt)
        if not messages:
            raise InvalidRequestError("messages must hold at least one message, got none")
        if "tools" in params:
            params["tools"] = plain_tools(params["tools"])
        return cls(model, messages, FrozenDict(params), "chat", checked_tags(tags), headers=checked_headers(headers))

    @classmethod
    def embed(
        cls,
        model: str,
        texts: str | Iterable[str],
        *,
        tags: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        **params: Any,
    ) -> Request:
        """Vectors of *texts*, in `response.vectors`, one for each; *params* (`dimensions`) go to the provider.

        Each text is a message of its own, so that layers which look at messages see it.

        Raises:
            InvalidRequestError: the model is no string, there is no text, or one of them is none.
        """
        if not isinstance(model, str) or not model:
            raise InvalidRequestError(f"model must be the name of a model, got {model!r}")
        found = [texts] if isinstance(texts, str) else list(texts)
        if not found:
            raise InvalidRequestError("texts must hold at least one text, got none")
        for place, text in enumerate(found):
            if not isinstance(text, str):
                raise InvalidRequestError(f"texts[{place}] must be text, got {type(text).__name__}")
        messages = tuple([Message("user", (Text(text),)) for text in found])
        return cls(model, messages, FrozenDict(params), "embed", checked_tags(tags), headers=checked_headers(headers))

    @property
    def identity(self) -> str:
        """The digest of what is asked: equal for equal requests, in every process (64 hex digits).

        Raises:
            InvalidRequestError: a parameter has no canonical form (a NaN, an object that is no plain data).
        """
        known = self._identity
        params = self.params
        # A copy that was made by other means than `evolve` carries the digest of what it was copied from.
        if (
            known is None
            or known[3] is not self.messages
            or known[4] is not params
            or known[2] != self.model
            or known[1] != self.kind
            or known[5] is not self.headers
        ):
            headers = self.headers
            if headers and not IRRELEVANT_HEADERS.isdisjoint(headers):
                headers = {name: value for name, value in headers.items() if name not in IRRELEVANT_HEADERS}
            if params and not IRRELEVANT.isdisjoint(params):
                params = {key: value for key, value in params.items() if key not in IRRELEVANT}
            known = (
                digest(self.kind, self.model, self.messages, params, headers),
                self.kind,
                self.model,
                self.messages,
                self.params,
                self.headers,
            )
            force_setattr(self, "_identity", known)
        return known[0]

    @property
    def replayable(self) -> bool:
        """Whether another attempt may still deliver: nothing of an earlier one has reached the consumer.

        Layers that try again (retry, fallback, hedge) ask this first.
        """
        return self.sink is None or not self.sink.committed

    @property
    def remaining(self) -> float | None:
        """Seconds left until the deadline (never below 0), or None without one."""
        if self.deadline is None:
            return None
        return max(0.0, self.deadline - asyncio.get_running_loop().time())

    def begin(self) -> Writer:
        """A writer for one attempt of a terminal; without a sink it takes the events and forgets them."""
        return Writer() if self.sink is None else self.sink.begin()

    def evolve(self, **changes: Any) -> Request:
        """A copy with *changes*; the identity is carried along when nothing that it covers changes."""
        if not _IDENTIFYING.isdisjoint(changes):
            changes["_identity"] = None
            if "messages" in changes:
                changes["messages"] = messages_of(changes["messages"])
            if "params" in changes:
                params = changes["params"]
                if "tools" in params:
                    params = {**params, "tools": plain_tools(params["tools"])}
                changes["params"] = FrozenDict(params)
            if "headers" in changes:
                changes["headers"] = checked_headers(changes["headers"])
        if "tags" in changes:
            changes["tags"] = checked_tags(changes["tags"])
        try:
            return replace(self, **changes)
        except TypeError as error:
            raise no_field(Request, changes, "a parameter is changed by request.with_params({}=...)") or error from None

    def with_params(self, **params: Any) -> Request:
        """A copy with some parameters added or changed."""
        return self.evolve(params={**self.params, **params})

    def with_cache(self, *, no_cache: bool = False, no_store: bool = False, ttl: float | None = None) -> Request:
        """A copy that tells caches what to do with this call; no part of its identity."""
        if ttl is not None and not 0 < ttl < float("inf"):
            raise InvalidRequestError(f"with_cache(ttl=) must be a positive number of seconds, got {ttl!r}")
        return replace(self, cache=CacheControl(no_cache, no_store, ttl))

    def reply(self, answer: Response, *next_turn: Message | ToolResult | str) -> Request:
        """The next request of a conversation: these messages, the *answer*, then results of tools or a user's text."""
        turn = [Message.tool(item) if isinstance(item, ToolResult) else Message.of(item) for item in next_turn]
        return self.evolve(messages=(*self.messages, answer.message, *turn))

    def __repr__(self) -> str:
        # A prompt may be private: a repr shows its size.
        return f"Request({self.kind} {self.model!r}, {len(self.messages)} messages, params {sorted(self.params)})"

    def __reduce__(self) -> Any:
        # The path (sink, ledger, call, deadline) belongs to one process and one moment.
        asked = (self.model, self.messages, dict(self.params), self.kind, dict(self.tags), self.cache)
        return (_request, (*asked, dict(self.headers)))


_IDENTIFYING = frozenset({"headers", "kind", "messages", "model", "params"})


class Response(msgspec.Struct, frozen=True, eq=False, omit_defaults=True):
    """A complete answer.

    `finish_reason` is one of "stop", "length", "tool_calls", "content_filter", "error", "other" or None;
    `raw_finish_reason` is the provider's own word. Fields of the answer that llamina has no name for are in `extra`, in
    the shape of the wire that `wire` names ("" where it was no provider that answered).
    `rate_limit` is what the headers said of limits (see `llamina.policy.headers.parse_rate_limit`); `vectors` are the
    answer to `Request.embed`, one for each text, in their order.
    """

    message: Message
    usage: Usage | None = None
    finish_reason: str | None = None
    model: str = ""
    id: str | None = None
    raw_finish_reason: str | None = None
    request_id: str | None = None
    extra: Mapping[str, Any] = {}
    rate_limit: Mapping[str, Any] | None = None
    vectors: tuple[tuple[float, ...], ...] = ()
    wire: str = ""
    _call: Any = None

    @classmethod
    def of(
        cls, text: str, *, usage: Usage | None = None, finish_reason: str | None = "stop", **fields: Any
    ) -> Response:
        """A plain answer of text, for canned answers and tests."""
        return cls(Message("assistant", (Text(text),) if text else ()), usage, finish_reason, **fields)

    @property
    def call(self) -> Call:
        """The record of the logical call that this is the answer of: attempts, cost, tags.

        Raises:
            LookupError: the answer came from a bare handler that keeps no record.
        """
        if self._call is None:
            raise LookupError("this Response has no call: it came from a bare handler; send it through build_stack")
        call: Call = self._call
        return call

    @property
    def text(self) -> str:
        """The text of the answer."""
        return self.message.text

    @property
    def reasoning(self) -> str:
        """What the model thought aloud, where the provider shows it."""
        return self.message.reasoning

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The tools that the model wants called."""
        return self.message.tool_calls

    def evolve(self, **changes: Any) -> Response:
        """A copy with *changes*."""
        if "call" in changes:
            changes["_call"] = changes.pop("call")
        try:
            return replace(self, **changes)
        except TypeError as error:
            remedy = "other words are given by response.with_text(...), an unknown field is put into `extra`"
            raise no_field(Response, changes, remedy) or error from None

    def with_text(self, text: str) -> Response:
        """A copy whose text is *text*; all else stays."""
        return replace(self, message=self.message.with_text(text))

    def __repr__(self) -> str:
        size = len(self.text)
        calls = f", {len(self.tool_calls)} tool calls" if self.tool_calls else ""
        return f"Response({self.model!r}, {size} characters{calls}, {self.finish_reason!r}, {self.usage!r})"


Handler: TypeAlias = Callable[[Request], Awaitable[Response]]
Middleware: TypeAlias = Callable[[Handler], Handler]


def middleware(function: Callable[[Request, Handler], Awaitable[Response]]) -> Middleware:
    """Turn `async def layer(request, call_next)` into a Middleware.

    Raises:
        ConfigurationError: *function* does not take a request and the next handler.
    """
    taken: list[str] = []
    try:
        signature = inspect.signature(function)
        signature.bind(None, None)
        taken = list(signature.parameters)
    except TypeError:
        raise ConfigurationError(
            f"@middleware must stand above a function of two arguments, (request, call_next); "
            f"{getattr(function, '__name__', function)!r} takes others"
        ) from None
    except ValueError:  # a callable without a signature
        pass
    if taken[:2] == ["call_next", "request"]:
        name = getattr(function, "__name__", "layer")
        raise ConfigurationError(f"@middleware gives the request first; write async def {name}(request, call_next)")

    @functools.wraps(function)
    def wrap(call_next: Handler) -> Handler:
        def handle(request: Request) -> Awaitable[Response]:
            return function(request, call_next)

        if getattr(call_next, "records_attempts", False):
            handle.records_attempts = True  # type: ignore[attr-defined]
        return handle

    # The function's own signature is not the Middleware's.
    del wrap.__wrapped__
    return wrap


def expect_response(value: Any, who: str) -> Response:
    """*value*, if it is a Response.

    Raises:
        TypeError: it is none; *who* returned it, mostly for want of a `return`.
    """
    if isinstance(value, Response):
        return value
    raise TypeError(
        f"{who} returned {type(value).__name__}; a handler must return a Response: `return await call_next(request)`"
    )


def evolve(value: Any, **changes: Any) -> Any:
    """A copy of a Request or Response with *changes*."""
    return value.evolve(**changes)


def explain_identity(one: Request, other: Request) -> list[str]:
    """The places at which two requests differ in identity: `["params.temperature"]`; empty when they are the same."""
    found: list[str] = []
    for field in ("kind", "model", "messages", "params", "headers"):
        mine, theirs = getattr(one, field), getattr(other, field)
        if field == "params":
            mine, theirs = (
                {key: value for key, value in params.items() if key not in IRRELEVANT} for params in (mine, theirs)
            )
        elif field == "headers":
            mine, theirs = (
                {key: value for key, value in each.items() if key not in IRRELEVANT_HEADERS} for each in (mine, theirs)
            )
        found += differences(mine, theirs, field)
    return found


def _request(model: str, messages: Any, params: Any, kind: str, tags: Any, cache: Any, headers: Any = None) -> Request:
    return Request(
        model, messages, FrozenDict(params), kind, checked_tags(tags), cache, headers=checked_headers(headers)
    )
