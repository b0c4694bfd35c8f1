"""The blocking faces: the same stack and client without `await`, for sync code, notebooks and threads.

    client = Client(stack, model="small").blocking()
    print(client.chat("Why is the sky blue?").text)
    for piece in client.stream("Tell me a story").text:
        print(piece, end="")

    stack.blocking()(Request.chat("small", "Hi"))

All layers work unchanged, for they run where they always do: in an event loop. There is one for all blocking faces of
the process, in a thread of its own that starts with the first call; so threads share flights, budgets and connections
as tasks do. Context variables of the calling thread are seen by the layers.

The one surprise: the calling thread waits. In a notebook, or in any thread with an event loop of its own, a blocking
call works, but holds up that loop; `await` the client itself there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import EllipsisType, TracebackType
from typing import Any, Self

from ._blocking_loop import background
from ._blocking_stream import BlockingStream, Texts
from ._client_plan import Plan
from ._client_talk import Talk
from .client import Face, Messages, _split
from .edge import belongs_to_call
from .messages import Message
from .protocol import CacheControl, Request, Response
from .stack import Stack

__all__ = ["BlockingClient", "BlockingConversation", "BlockingStack", "BlockingStream", "Texts"]


class _Closing:
    """A context manager that closes the stack."""

    stack: Stack
    _is_face = True

    def close(self) -> None:
        """Close the stack: its layers and its transport. The shared event loop goes on."""
        background().run(self.stack.aclose)

    def __enter__(self) -> Self:
        background().run(self.stack.__aenter__)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class BlockingStack(_Closing):
    """A stack without `await`; made by `stack.blocking()`.

    Entered with `with`, it closes the stack when it is left; one that is only called closes nothing.
    """

    def __init__(self, stack: Stack) -> None:
        self.stack = stack

    def __call__(self, request: Request) -> Response:
        """Send *request* through the layers; returns the complete Response.

        Raises:
            LLMError: the call failed; the same object that a layer or the transport raised.
            RuntimeError: this is the thread of the loop that would have to do the work.
        """
        return background().run(self.stack, request)

    def stream(self, request: Request) -> BlockingStream:
        """Send *request* and read its events: `with stack.blocking().stream(request) as stream: for event in stream`."""
        belongs_to_call(request)
        return BlockingStream(Plan(self.stack, self.stack, request))

    def stats(self) -> dict[str, Any]:
        """What every layer has counted."""
        return self.stack.stats()

    def __repr__(self) -> str:
        return f"<Blocking{repr(self.stack).removeprefix('<')}"


class BlockingClient(_Closing, Face):
    """A client without `await`; made by `client.blocking()`, and the same in all else."""

    def chat(
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
        """The answer to *messages*; see `Client.chat`."""
        given = {"model": model, "tags": tags, "timeout": timeout, "cache": cache, "no_cache": no_cache}
        return background().run(self._chat(messages, params=params, **given).send)

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
    ) -> BlockingStream:
        """The same as `chat`, as it comes: `with client.stream("Hi") as stream: for event in stream: ...`.

        Or, for who wants the text alone: `for piece in client.stream("Hi").text`.
        """
        given = {"model": model, "tags": tags, "timeout": timeout, "cache": cache, "no_cache": no_cache}
        return BlockingStream(self._chat(messages, params=params, **given))

    def embed(
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
        """Vectors of *texts*, in `response.vectors`; see `Client.embed`."""
        given = {"model": model, "tags": tags, "timeout": timeout, "cache": cache, "no_cache": no_cache}
        return background().run(self._embed(texts, params, **given).send)

    def conversation(self, system: str | Message | None = None, **defaults: Any) -> BlockingConversation:
        """A conversation that keeps its history; see `Client.conversation`."""
        stack, settings, first = self._talk(system, _split(defaults))
        return BlockingConversation(stack, settings, first)

    def blocking(self) -> Self:
        """This client: it is blocking already."""
        return self


class BlockingConversation(Talk):
    """A talk with a model that remembers; made by `client.blocking().conversation()`."""

    def chat(self, messages: Messages, **given: Any) -> Response:
        """The answer to *messages* after all that was said; see `Conversation.chat`."""
        return background().run(self._plan(messages, _split(given)).send)

    def stream(self, messages: Messages, **given: Any) -> BlockingStream:
        """The same as `chat`, as it comes; the turn is kept when the stream was read to its end."""
        return BlockingStream(self._plan(messages, _split(given)))
