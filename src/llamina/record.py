"""The recorder: it stands round a terminal and enters every physical try in the ledger, exactly once.

    handler = record(transport)      # `build_stack` does this

Success, error and cancellation in mid-stream are recorded alike. What the provider said of tokens is exact; where it
said nothing although it may have worked, input and streamed output are estimated: unknown is never zero.

The one surprise: a try that a limit of ours cut reads "timeout", although what reaches it is a cancellation. The limit
cancels with a `CutByLimit` as its message, and the recorder looks for it.
"""

from __future__ import annotations

from asyncio import CancelledError, get_running_loop
from socket import gaierror

from msgspec.structs import replace

from .call import Attempt
from .errors import LLMError
from .events import Event
from .messages import Reasoning, Text, ToolCall, ToolResult, Usage
from .policy.estimate import estimate_input, estimate_tokens
from .protocol import Handler, Request, Response
from .sink import Sink, Writer

__all__ = ["CutByLimit", "estimate_prompt", "record"]


class CutByLimit(str):
    """The message with which a limit of ours cancels: it tells the recorder that this is no caller's cancellation."""

    __slots__ = ()


def record(terminal: Handler) -> Handler:
    """A handler that records each call of *terminal* as one attempt."""
    provider = getattr(terminal, "provider", None)

    async def recorded(request: Request) -> Response:
        clock = get_running_loop().time
        attempt = Attempt(provider, request.model, clock())
        if (ledger := request.ledger) is not None:
            ledger.add(attempt)
        watch = None
        if (sink := request.sink) is not None:
            watch = _Watch(sink)
            request = replace(request, sink=sink.through(watch))
        try:
            response = await terminal(request)
            if not isinstance(response, Response):
                raise TypeError(f"{terminal!r} returned {type(response).__name__}; a handler must return a Response")
        except BaseException as error:
            _failed(attempt, request, error, watch)
            if watch is not None:
                watch.note(attempt)
            attempt.settle(_outcome(error), clock() - attempt.started)
            raise
        attempt.answered_model = response.model
        attempt.request_id = response.request_id
        attempt.rate_limit = response.rate_limit
        if (usage := response.usage) is None:
            writer = watch.writers[-1] if watch is not None and watch.writers else None
            known = writer.usage if writer is not None else None
            output = estimate_tokens(_words(response.message.parts))
            attempt.usage = (
                Usage(estimate_prompt(request), output)
                if known is None
                else replace(known, output_tokens=max(known.output_tokens, output))
            )
            attempt.usage_source = "estimated"
        else:
            attempt.usage = usage
            attempt.usage_source = "exact"
        if watch is not None:
            watch.note(attempt)
        attempt.settle("ok", clock() - attempt.started)
        return replace(response, _call=request.call)

    recorded.records_attempts = True  # type: ignore[attr-defined]
    return recorded


class _Watch:
    """Sees the writers that a terminal begins: what a cut attempt delivered, and when its first content came."""

    __slots__ = ("_held", "_sink", "writers")

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._held = sink.held()
        self.writers: list[Writer] = []

    def __call__(self, writer: Writer) -> Writer:
        if writer.events is None:
            writer = _Keeping(writer)
        self.writers.append(writer)
        return writer

    def note(self, attempt: Attempt) -> None:
        attempt.held = self._sink.held() - self._held
        first = self._sink.first_event_at
        if first is not None and any([writer.events for writer in self.writers]):
            attempt.first_event = max(0.0, first - attempt.started)


class _Keeping(Writer):
    """Keeps the events for a writer that does not: a cut attempt is charged for what came."""

    __slots__ = ("_inner", "events")

    def __init__(self, inner: Writer) -> None:
        super().__init__()
        self._inner = inner
        self.events: list[Event] = []

    async def send(self, event: Event) -> None:
        if event.content:
            self.events.append(event)
        await self._inner.send(event)


def _outcome(error: BaseException) -> str:
    if isinstance(error, LLMError):
        return error.outcome
    if isinstance(error, CancelledError):
        return "timeout" if error.args and isinstance(error.args[0], CutByLimit) else "cancelled"
    if isinstance(error, TimeoutError):
        return "timeout"
    if isinstance(error, ConnectionError):
        return "network_error"
    return "error"


def _failed(attempt: Attempt, request: Request, error: BaseException, watch: _Watch | None) -> None:
    writer = watch.writers[-1] if watch is not None and watch.writers else None
    known = writer.usage if writer is not None else None
    exact = False
    # A writer of another's may not know these.
    attempt.request_id = getattr(writer, "request_id", None)
    attempt.rate_limit = getattr(writer, "rate_limit", None)
    if isinstance(error, LLMError):
        attempt.status = error.status
        attempt.code = error.code
        attempt.request_id = error.request_id or attempt.request_id
        attempt.rate_limit = error.rate_limit or attempt.rate_limit
        if error.usage is not None:
            known, exact = error.usage, True
        elif not error.processed and known is None:
            known, exact = Usage(), True
    elif isinstance(error, ConnectionRefusedError | gaierror) and known is None:
        known, exact = Usage(), True  # nobody was reached
    if exact:
        attempt.usage, attempt.usage_source = known, "exact"
        return
    streamed = [event.text + event.reasoning + event.arguments for event in (writer and writer.events) or ()]
    output = estimate_tokens("".join(streamed)) if streamed else 0
    if known is None:
        attempt.usage = Usage(estimate_prompt(request), output)
    else:
        attempt.usage = replace(known, output_tokens=max(known.output_tokens, output))
    attempt.usage_source = "estimated"


def estimate_prompt(request: Request) -> int:
    """Input tokens of *request*, by the rule of `llamina.policy.estimate`."""
    return estimate_input([_words(message.parts) for message in request.messages])


def _words(parts: tuple[object, ...]) -> str:
    return "".join(
        [
            (part.arguments_text if isinstance(part, ToolCall) else part.text) or ""
            for part in parts
            if isinstance(part, Text | ToolCall | ToolResult | Reasoning)
        ]
    )
