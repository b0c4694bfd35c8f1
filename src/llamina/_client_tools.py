"""The tool loop of a client: ask, run the tools that the answer calls, ask again, until an answer calls none.

    helper = client.tools([weather], max_rounds=4)
    answer = await helper.chat("Do I need an umbrella in Paris?")
    answer.text, answer.call.cost               # the last answer; the cost of all rounds

Each round goes through the whole stack with a Call of its own, so that a log or a meter sees each for itself; its
attempts are entered in the ledger of the whole as well. A round that fails is tried again by the stack on its own.

The one surprise: a stream shows all rounds as they come, what the model says before it calls a tool, the calls, and
their results as parts. That text cannot be held back, for nobody knows yet whether a call will follow. The answer,
`stream.response`, is that of the last round.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

import attrs
from msgspec.structs import replace

from .call import Call, Ledger
from .errors import ConfigurationError, LLMError
from .events import Event, PartDelta, ToolCallDelta
from .messages import Message, Part, ToolCall, Usage
from .protocol import Handler, Request, Response
from .sink import CommitSink, Sink, Writer
from .tools import Tool, run_tools, tool

__all__ = ["ToolLoop", "ToolRoundsError"]


class ToolRoundsError(LLMError):
    """The model still calls tools after the last round that it was allowed.

    `partial` is its last answer, `messages` what was said up to it, `call` has the attempts and the cost of all rounds.
    """

    outcome = "tool_rounds"

    def __init__(self, message: str = "", *, messages: tuple[Message, ...] = (), **facts: Any) -> None:
        super().__init__(message, **facts)
        self.messages = messages


@attrs.frozen(eq=False)
class ToolLoop:
    """The tools of a client, and how many rounds it goes."""

    tools: tuple[Tool[..., Any], ...]
    max_rounds: int
    on_error: Callable[[ToolCall, Exception], str] | None
    definitions: list[Any]

    @classmethod
    def of(
        cls,
        tools: Iterable[Any],
        max_rounds: int,
        on_error: Callable[[ToolCall, Exception], str] | None = None,
    ) -> ToolLoop:
        """The loop for *tools*; a plain function is made a tool.

        Raises:
            ConfigurationError: there is no tool, two have one name, one is no function, *max_rounds* is below 1.
        """
        if isinstance(tools, Tool) or not isinstance(tools, Iterable):
            raise ConfigurationError(f"tools() takes a list of tools, got {tools!r}; write client.tools([{tools!r}])")
        found = [each if isinstance(each, Tool) else tool(each) for each in tools]
        if not found:
            raise ConfigurationError("tools() takes at least one tool, got none; leave it out to chat without tools")
        names = [each.name for each in found]
        if len(set(names)) < len(names):
            raise ConfigurationError(f"tools() takes tools of different names, got {names}; see tool(name='...')")
        if not isinstance(max_rounds, int) or isinstance(max_rounds, bool) or max_rounds < 1:
            raise ConfigurationError(f"tools(max_rounds=) must be a whole number of at least 1, got {max_rounds!r}")
        return cls(tuple([_off_the_loop(each) for each in found]), max_rounds, on_error, [t.definition for t in found])

    def rounds(self, stack: Handler) -> _Rounds:
        """The handler of one call."""
        return _Rounds(self, stack)


def _off_the_loop(given: Tool[..., Any]) -> Tool[..., Any]:
    """A tool whose function, if it is not async, runs in a thread: a slow one must not stop the event loop."""
    function = given.function
    if inspect.iscoroutinefunction(function):
        return given

    async def in_a_thread(**arguments: Any) -> Any:
        work = functools.partial(copy_context().run, functools.partial(function, **arguments))
        value = await asyncio.get_running_loop().run_in_executor(_threads(), work)
        return await value if inspect.isawaitable(value) else value

    return attrs.evolve(given, function=in_a_thread)


@functools.cache
def _threads() -> ThreadPoolExecutor:
    """Threads for tools alone: one may wait for a model whose host name, or whose own tool, needs a thread too."""
    return ThreadPoolExecutor(512, thread_name_prefix="llamina tool")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_threads.cache_clear)  # the threads have stayed with the parent


class _Rounds:
    """One call in several rounds."""

    records_attempts = True

    def __init__(self, loop: ToolLoop, stack: Handler) -> None:
        self._loop = loop
        self._stack = stack
        self.answer: Response | None = None
        self.between: tuple[Message, ...] = ()

    async def __call__(self, request: Request) -> Response:
        loop = self._loop
        asked = len(request.messages)
        stream = None if request.sink is None else _Transcript(request.sink)
        said: list[Part] = []
        usage = Usage()
        for number in range(1, loop.max_rounds + 1):
            answer = await self._round(request, stream)
            said += answer.message.parts
            usage += answer.usage or Usage()
            if not answer.tool_calls:
                self.answer = answer if number == 1 else replace(answer, usage=usage)
                self.between = request.messages[asked:]
                # What was streamed must be what is returned: the edge compares them.
                return replace(self.answer, message=Message("assistant", tuple(said)))
            if number < loop.max_rounds:
                results = await run_tools(answer, loop.tools, on_error=loop.on_error)
                said += results
                if stream is not None:
                    await stream.show(results)
                request = _unforced(request.reply(answer, *results))
        names = ", ".join(dict.fromkeys([call.name for call in answer.tool_calls]))
        raise ToolRoundsError(
            f"the model still calls tools ({names}) in round {loop.max_rounds}, the last; "
            "allow more with client.tools(..., max_rounds=), or tell it when to stop",
            model=request.model,
            partial=answer,
            messages=request.messages,
        )

    async def _round(self, request: Request, stream: _Transcript | None) -> Response:
        whole = request.call
        ledger = Ledger() if request.ledger is None else request.ledger.child()
        call = Call(request.tags, ledger)
        sink = None if stream is None else stream.begin_round()
        try:
            answer = await self._stack(replace(request, call=call, ledger=ledger, sink=sink))
            if sink is not None:
                await sink.finish(answer.message)
        finally:
            call.finished = True
            if sink is not None:
                sink.close()
            if whole is not None:
                whole.hits += call.hits
                whole.joins += call.joins
                whole.cache = call.cache or whole.cache
        return answer


def _unforced(request: Request) -> Request:
    """A forced choice holds for the first round: kept, it would call tools for ever."""
    choice = request.params.get("tool_choice", "auto")
    return request if choice in ("auto", "none") else request.with_params(tool_choice="auto")


class _Transcript:
    """The stream of all rounds: one writer, for the stream belongs to one attempt."""

    def __init__(self, sink: Sink) -> None:
        self.sink = sink
        self.out: Writer = sink.begin()
        self.calls = 0  # the index at which the tool calls of the next round begin

    def begin_round(self) -> _RoundSink:
        return _RoundSink(self, asyncio.get_running_loop().time)

    async def show(self, results: Iterable[Part]) -> None:
        for result in results:
            await self.out.send(PartDelta(result))


class _RoundSink(CommitSink):
    """The commit point of one round: a layer may try again until this round has delivered."""

    __slots__ = ("_shift", "_transcript")

    def __init__(self, transcript: _Transcript, clock: Callable[[], float]) -> None:
        super().__init__(clock)
        self._transcript = transcript
        self._shift = transcript.calls

    async def _deliver(self, event: Event) -> None:
        transcript = self._transcript
        if type(event) is ToolCallDelta:
            event = replace(event, index=event.index + self._shift)
            transcript.calls = max(transcript.calls, event.index + 1)
        await transcript.out.send(event)

    def held(self) -> float:
        return self._transcript.sink.held()
