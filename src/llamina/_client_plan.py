"""What both faces of the client share: settings that are merged, and a call made ready to be sent or streamed.

    settings = Settings().merged("Client", ConfigurationError, model="small", tags={"user": "ada"})
    plan = settings.plan(stack, "Why is the sky blue?")
    response = await plan.send()

The one surprise: a limit of time is a `Timeout` round the stack, inside the Call, so that it is enforced whatever the
stack is made of, and the error still carries the record.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from types import EllipsisType
from typing import Any, Protocol

import msgspec
from msgspec.structs import replace

from .edge import open_call
from .errors import ConfigurationError, InvalidRequestError, LLMError
from .layer import Layer
from .protocol import CacheControl, Handler, Request, Response
from .stack import Stack, build_stack

__all__ = ["Plan", "Settings", "Tools", "Turn", "stack_of"]


class Turn(Protocol):
    """What a conversation does round one call."""

    def begin(self) -> None:
        """The call begins; nobody else may use the conversation."""

    def add(self, request: Request, answer: Response, between: tuple[Any, ...]) -> None:
        """The answer is complete: it belongs to the history, after the messages *between*."""

    def end(self) -> None:
        """The call has ended, whichever way."""


class Tools(Protocol):
    """What makes a handler of several rounds out of a stack."""

    @property
    def definitions(self) -> list[Any]:
        """The tools as a provider is told of them."""

    def rounds(self, stack: Handler) -> Rounds:
        """A handler for one call."""


class Rounds(Protocol):
    """One call in several rounds: a handler, which knows the last answer once it has ended."""

    answer: Response | None
    between: tuple[Any, ...]

    async def __call__(self, request: Request) -> Response:
        """All rounds; returns what was said in all of them."""


class Settings(msgspec.Struct, frozen=True):
    """What a client gives to each of its calls unless the call says otherwise."""

    model: str | None = None
    tags: Mapping[str, str] = {}
    timeout: float | None = None
    cache: CacheControl | None = None
    params: Mapping[str, Any] = {}
    tools: Tools | None = None

    def merged(
        self,
        where: str,
        wrong: type[LLMError],
        *,
        model: str | None = None,
        tags: Mapping[str, str] | None = None,
        timeout: float | EllipsisType | None = ...,
        cache: CacheControl | None = None,
        no_cache: bool | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> Settings:
        """These settings with those of a call, or of another client, on top; tags and params are merged.

        Raises:
            wrong: a value is none that it can be; the message names it as an argument of *where*.
        """
        changes: dict[str, Any] = {}
        if model is not None:
            if not isinstance(model, str) or not model:
                raise wrong(f"{where}(model=) must be the name of a model, got {model!r}")
            changes["model"] = model
        if tags:
            changes["tags"] = _merged_tags(where, wrong, self.tags, tags)
        if timeout is not ...:
            if timeout is not None and not _is_length(timeout):
                raise wrong(f"{where}(timeout=) must be a number of seconds above 0, got {timeout!r}; None is no limit")
            changes["timeout"] = timeout
        if cache is not None:
            if not isinstance(cache, CacheControl):
                raise wrong(f"{where}(cache=) must be a CacheControl, got {cache!r}; write CacheControl(ttl=60)")
            changes["cache"] = cache
        if no_cache is not None:
            changes["cache"] = replace(changes.get("cache") or self.cache or CacheControl(), no_cache=bool(no_cache))
        if params:
            if "stream" in params:
                raise wrong(f"{where}(stream=) is no parameter here; call `client.stream(...)` to read a stream")
            changes["params"] = {**self.params, **params}
        return replace(self, **changes) if changes else self

    def plan(self, stack: Stack, messages: Any, *, turn: Turn | None = None) -> Plan:
        """A chat of *messages*, made ready.

        Raises:
            InvalidRequestError: no model is known, there is no message, or one of them is none.
        """
        request = Request.chat(self._model("chat"), messages, tags=self.tags)
        params = self.params
        rounds = None
        if self.tools is not None:
            rounds = self.tools.rounds(stack)
            if "tools" not in params:
                params = {**params, "tools": self.tools.definitions}
        if params:
            request = request.evolve(params=params)
        return Plan(stack, self._limited(rounds or stack), self._controlled(request), rounds, turn)

    def embedding(self, stack: Stack, texts: Any, params: Mapping[str, Any]) -> Plan:
        """Vectors of *texts*, made ready; parameters of chats are no parameters of it.

        Raises:
            InvalidRequestError: no model is known, there is no text, or one of them is none.
        """
        request = Request.embed(self._model("embed"), texts, tags=self.tags)
        if params:
            request = request.evolve(params=params)
        return Plan(stack, self._limited(stack), self._controlled(request))

    def _model(self, method: str) -> str:
        if self.model is None:
            raise InvalidRequestError(
                f'no model is known: give one to the call, client.{method}(..., model="..."), '
                'or to the client, Client(stack, model="...")'
            )
        return self.model

    def _limited(self, handler: Handler) -> Handler:
        if self.timeout is None:
            return handler
        from .layers.timeout import Timeout

        # Without a grace nothing is left behind that somebody would have to wait for.
        return Timeout(self.timeout, grace=None).wrap(handler)

    def _controlled(self, request: Request) -> Request:
        return request if self.cache is None else replace(request, cache=self.cache)


def _merged_tags(
    where: str, wrong: type[LLMError], known: Mapping[str, str], tags: Mapping[str, str]
) -> Mapping[str, str]:
    if not isinstance(tags, Mapping) or not all(
        [isinstance(text, str) for key, value in tags.items() for text in (key, value)]
    ):
        raise wrong(f"{where}(tags=) must map strings to strings, got {tags!r}")
    return {**known, **tags}


def _is_length(seconds: Any) -> bool:
    return isinstance(seconds, int | float) and not isinstance(seconds, bool) and isfinite(seconds) and seconds > 0


class Plan:
    """One call, made ready: it can be sent, or streamed by an edge that asks `finish` for the answer."""

    __slots__ = ("_rounds", "_turn", "bound", "handler", "hold", "request")

    def __init__(
        self, stack: Stack, handler: Handler, request: Request, rounds: Rounds | None = None, turn: Turn | None = None
    ) -> None:
        self.handler = handler
        self.request = request
        self.bound = stack._buffer
        self.hold = stack._hold
        self._rounds = rounds
        self._turn = turn

    def begin(self) -> None:
        """The call begins."""
        if self._turn is not None:
            self._turn.begin()

    def end(self) -> None:
        """The call has ended, whichever way."""
        if self._turn is not None:
            self._turn.end()

    def answer(self, response: Response) -> Response:
        """What the caller gets of *response*: of several rounds the last."""
        rounds = self._rounds
        return response if rounds is None or rounds.answer is None else replace(rounds.answer, _call=response._call)

    def finish(self, response: Response) -> Response:
        """The answer for the caller, now that he has got all of it: a conversation keeps it."""
        answer = self.answer(response)
        if self._turn is not None:
            self._turn.add(self.request, answer, () if self._rounds is None else self._rounds.between)
        return answer

    async def send(self) -> Response:
        """The complete answer."""
        self.begin()
        try:
            return self.finish(await open_call(self.handler, self.request))
        finally:
            self.end()


def stack_of(target: Any, who: str = "Client(stack)") -> Stack:
    """*target*, if it is a stack; a bare transport or handler gets one without layers.

    Raises:
        ConfigurationError: it is neither.
    """
    if isinstance(target, Stack):
        return target
    if getattr(target, "_is_face", False):
        raise ConfigurationError(f"{who} takes a stack, got the face {target!r} of one; hand it the stack itself")
    if not callable(target) or isinstance(target, type | Layer):
        raise ConfigurationError(
            f"{who} takes a stack or a handler, got {target!r}; build one with build_stack([...], transport)"
        )
    return build_stack([], target)
