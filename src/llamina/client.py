"""The client: a small face of a stack for those who start fresh.

    client = Client(build_stack([Cache(), Retry(), Timeout(30)], transport), model="small")

    answer = await client.chat("Why is the sky blue?", temperature=0)
    async for piece in client.stream("Tell me a story").text:
        print(piece, end="")
    talk = client.conversation(system="Be brief.")
    helper = client.tools([weather])                # chats that may call functions of yours

It adds nothing to a call that `Request` and the stack could not say; `client.stack` is the stack. Everything but the
few arguments that are listed is a parameter for the provider and goes there as it is.

The one surprise: a client that is only called closes nothing; `async with client:` closes the stack when it is left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import EllipsisType, TracebackType
from typing import TYPE_CHECKING, Any, Self

from msgspec.structs import replace

from ._client_plan import Plan, Settings, stack_of
from ._client_stream import ClientStream
from ._client_talk import Talk
from ._client_tools import ToolLoop, ToolRoundsError
from .errors import ConfigurationError, InvalidRequestError
from .messages import Message, ToolCall
from .protocol import CacheControl, Handler, Response
from .stack import Stack

if TYPE_CHECKING:
    from .blocking import BlockingClient

__all__ = ["Client", "ClientStream", "Conversation", "ToolRoundsError"]

Messages = str | Message | Iterable[Message | str | Mapping[str, Any]]


class Face:
    """What the async and the blocking client share: the stack, the defaults, and how a call is made ready."""

    _is_face = True

    def __init__(
        self,
        stack: Stack | Handler,
        *,
        model: str | None = None,
        tags: Mapping[str, str] | None = None,
        timeout: float | None = None,
        cache: CacheControl | None = None,
        no_cache: bool | None = None,
        **params: Any,
    ) -> None:
        self.stack = stack_of(stack)
        self._settings = Settings().merged(
            "Client",
            ConfigurationError,
            model=model,
            tags=tags,
            timeout=timeout,
            cache=cache,
            no_cache=no_cache,
            params=params,
        )

    @classmethod
    def _of(cls, stack: Stack, settings: Settings) -> Self:
        face = cls.__new__(cls)
        face.stack = stack
        face._settings = settings
        return face

    def with_(
        self,
        *,
        model: str | None = None,
        tags: Mapping[str, str] | None = None,
        timeout: float | EllipsisType | None = ...,
        cache: CacheControl | None = None,
        no_cache: bool | None = None,
        **params: Any,
    ) -> Self:
        """A client of the same stack with other defaults; tags and params are merged with those of this one.

        Raises:
            ConfigurationError: a value is none that it can be.
        """
        settings = self._settings.merged(
            "with_",
            ConfigurationError,
            model=model,
            tags=tags,
            timeout=timeout,
            cache=cache,
            no_cache=no_cache,
            params=params,
        )
        return self._of(self.stack, settings)

    def tools(
        self,
        tools: Iterable[Any],
        *,
        max_rounds: int = 8,
        on_error: Callable[[ToolCall, Exception], str] | None = None,
    ) -> Self:
        """A client whose chats may call *tools*: functions with typed parameters, marked with `llamina.tools.tool` or not.

        Each round goes through the stack. The tools of one round run side by side, one that is not async in a thread;
        a call of an unknown one, or with wrong arguments, gives the model an error to read. `answer` is that of the
        last round, its `usage` and `answer.call` are those of all rounds. A forced `tool_choice` holds for the first
        round only.

        Args:
            tools: what the model may call.
            max_rounds: how often the model is asked at most; its last answer must call no tool, else the chat raises
                `ToolRoundsError`.
            on_error: makes what the model is told when a tool raises; without it the chat raises what the tool raised.

        Raises:
            ConfigurationError: there is no tool, one is no function, or *max_rounds* is below 1.
        """
        return self._of(self.stack, replace(self._settings, tools=ToolLoop.of(tools, max_rounds, on_error)))

    def _chat(self, messages: Messages, **given: Any) -> Plan:
        return self._settings.merged("chat", InvalidRequestError, **given).plan(self.stack, messages)

    def _embed(self, texts: str | Iterable[str], params: Mapping[str, Any], **given: Any) -> Plan:
        return self._settings.merged("embed", InvalidRequestError, **given).embedding(self.stack, texts, params)

    def _talk(self, system: str | Message | None, given: Mapping[str, Any]) -> tuple[Stack, Settings, list[Message]]:
        settings = self._settings.merged("conversation", ConfigurationError, **given)
        first = [] if system is None else [Message.system(system) if isinstance(system, str) else Message.of(system)]
        return self.stack, settings, first

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.stack!r}, model={self._settings.model!r})"


class Client(Face):
    """Calls of one stack, with defaults.

    Args:
        stack: where the calls go: a stack; a bare transport or handler gets one without layers.
        model: of a call that names none.
        tags: who asks (`{"user": "ada"}`); those of a call are merged over them.
        timeout: seconds for a whole call, all rounds and tries and the stream included; None for no such limit.
            Time in which the reader of a stream keeps it waiting does not count.
        cache: what each call asks of a cache; `no_cache=True` is short for `CacheControl(no_cache=True)`.
        params: everything else goes to the provider with each chat.

    Raises:
        ConfigurationError: *stack* is no handler, or a value is none that it can be.
    """

    async def chat(
        self,
        messages: Messages,
        *,
        model: str | None = None,
        tags: Mapping[str, str] | None = None,
        timeout: float | EllipsisType | None = ...,
        cache: CacheControl | None = None,
        no_cache: bool | None = None,
        **params: Any,
    ) -> Response:
        """The answer to *messages*: a user's text, or a list of messages.

        Args:
            messages: what is said.
            model, tags, timeout, cache, no_cache: as for the client, for this call.
            params: everything else goes to the provider: `temperature=0`, `max_tokens=100`, what it knows.

        Raises:
            InvalidRequestError: no model is known, there is no message, a value is none that it can be.
            RequestTimeoutError: *timeout* has passed.
            LLMError: the call failed; `error.call` has its record.
        """
        given = {"model": model, "tags": tags, "timeout": timeout, "cache": cache, "no_cache": no_cache}
        return await self._chat(messages, params=params, **given).send()

    def stream(
        self,
        messages: Messages,
        *,
        model: str | None = None,
        tags: Mapping[str, str] | None = None,
        timeout: float | EllipsisType | None = ...,
        cache: CacheControl | None = None,
        no_cache: bool | None = None,
        **params: Any,
    ) -> ClientStream:
        """The same as `chat`, as it comes: `async with client.stream("Hi") as stream: async for event in stream: ...`.

        Or, for who wants the text alone: `async for piece in client.stream("Hi").text`.
        """
        given = {"model": model, "tags": tags, "timeout": timeout, "cache": cache, "no_cache": no_cache}
        return ClientStream(self._chat(messages, params=params, **given))

    async def embed(
        self,
        texts: str | Iterable[str],
        *,
        model: str | None = None,
        tags: Mapping[str, str] | None = None,
        timeout: float | EllipsisType | None = ...,
        cache: CacheControl | None = None,
        no_cache: bool | None = None,
        **params: Any,
    ) -> Response:
        """Vectors of *texts*, in `response.vectors`; *params* (`dimensions=256`) go to the provider.

        The client's own params are those of chats: they are not sent along.

        Raises:
            InvalidRequestError: no model is known, there is no text, a value is none that it can be.
            LLMError: the call failed; `error.call` has its record.
        """
        given = {"model": model, "tags": tags, "timeout": timeout, "cache": cache, "no_cache": no_cache}
        return await self._embed(texts, params, **given).send()

    def conversation(self, system: str | Message | None = None, **defaults: Any) -> Conversation:
        """A conversation that keeps its history; *defaults* are those of `with_`.

        Raises:
            ConfigurationError: a default is none that it can be.
        """
        stack, settings, first = self._talk(system, _split(defaults))
        return Conversation(stack, settings, first)

    def blocking(self) -> BlockingClient:
        """The same client without `await`, for sync code and threads; all of them share one event loop."""
        from .blocking import BlockingClient

        return BlockingClient._of(self.stack, self._settings)

    async def aclose(self) -> None:
        """Close the stack: its layers and its transport."""
        await self.stack.aclose()

    async def __aenter__(self) -> Self:
        await self.stack.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()


_OWN = ("model", "tags", "timeout", "cache", "no_cache")


def _split(given: Mapping[str, Any]) -> dict[str, Any]:
    """Keyword arguments by what they are: the client's own, and the provider's as `params`."""
    own = {name: value for name, value in given.items() if name in _OWN}
    return {**own, "params": {name: value for name, value in given.items() if name not in _OWN}}


class Conversation(Talk):
    """A talk with a model that remembers; made by `client.conversation()`.

    One call at a time uses it; `fork()` gives a branch for another.
    """

    async def chat(self, messages: Messages, **given: Any) -> Response:
        """The answer to *messages* after all that was said; both then belong to the history.

        Takes what `Client.chat` takes.

        Raises:
            RuntimeError: another call of this conversation is under way.
            LLMError: the call failed; the history is as it was.
        """
        return await self._plan(messages, _split(given)).send()

    def stream(self, messages: Messages, **given: Any) -> ClientStream:
        """The same as `chat`, as it comes; the turn is kept when the stream was read to its end.

        Raises:
            RuntimeError: another call of this conversation is under way (raised when the stream is entered).
        """
        return ClientStream(self._plan(messages, _split(given)))
