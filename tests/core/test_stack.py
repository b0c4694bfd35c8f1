"""The stack: composition, the record of a call, closing, what it tells of itself."""

from __future__ import annotations

import asyncio
import pickle
import re
from typing import Any

import pytest

from llamina import (
    ConfigurationError,
    Dedup,
    Handler,
    InvalidRequestError,
    Middleware,
    RateLimitError,
    Request,
    Response,
    Retry,
    ServerError,
    Timeout,
    Usage,
    build_stack,
    middleware,
)
from llamina.testing import FakeTransport, ScriptExhaustedError, answer, simulated_time

REQUEST = Request.chat("m", "hi", tags={"user": "ada"})


def named(name: str, log: list[str]) -> Any:
    """A layer that logs when it is passed."""

    @middleware
    async def layer(request: Request, call_next: Handler) -> Response:
        log.append(f"> {name}")
        response = await call_next(request)
        log.append(f"< {name}")
        return response

    return layer


@simulated_time
async def test_the_first_layer_sees_the_request_first() -> None:
    """Outermost first, innermost last."""
    log: list[str] = []

    await build_stack([named("a", log), named("b", log)], FakeTransport())(REQUEST)

    assert log == ["> a", "> b", "< b", "< a"]


@simulated_time
async def test_every_call_gets_a_record_of_its_own() -> None:
    """One Request value can be sent many times; each time is another call."""
    stack = build_stack([], FakeTransport(answer("hi", usage=Usage(3, 4))))

    one, other = await stack(REQUEST), await stack(REQUEST)

    assert one.call is not other.call
    assert one.call.id != other.call.id
    assert one.call.tags == {"user": "ada"}
    assert [(a.outcome, a.usage, a.usage_source) for a in one.call.attempts] == [("ok", Usage(3, 4), "exact")]
    assert REQUEST.call is None


@simulated_time
async def test_a_request_of_a_finished_call_opens_another() -> None:
    """A layer that kept a request does not write into an old record."""
    kept: list[Request] = []

    @middleware
    async def keep(request: Request, call_next: Handler) -> Response:
        kept.append(request)
        return await call_next(request)

    stack = build_stack([keep], FakeTransport())
    first = await stack(REQUEST)
    second = await stack(kept[0])

    assert second.call is not first.call
    assert len(first.call.attempts) == 1


@simulated_time
async def test_stacks_nest_without_counting_twice() -> None:
    """A stack is a handler: as a transport of another it shares the call and records its own attempts."""
    inner = build_stack([Retry(attempts=2)], FakeTransport([ServerError("down"), "hi"]))

    response = await build_stack([Timeout(60)], inner)(REQUEST)

    assert [attempt.outcome for attempt in response.call.attempts] == ["server_error", "ok"]


@simulated_time
async def test_a_layer_alone_records_as_it_does_in_a_stack() -> None:
    """`Retry()(fake)` opens a call and records its attempts; layers put together by hand count once."""
    fake = FakeTransport([ServerError("down"), "hi"])

    response = await Timeout(60)(Retry(attempts=2)(fake))(REQUEST)

    assert [attempt.outcome for attempt in response.call.attempts] == ["server_error", "ok"]


@simulated_time
async def test_the_error_that_leaves_the_stack_carries_the_call() -> None:
    """The same object, with the record, and it can be pickled."""
    thrown = RateLimitError("slow down", retry_after=3, status=429)

    with pytest.raises(RateLimitError) as caught:
        await build_stack([], FakeTransport([thrown]))(REQUEST)

    assert caught.value is thrown
    again = pickle.loads(pickle.dumps(caught.value))
    assert again.retry_after == 3
    assert again.call.attempts[0].outcome == "rate_limited"


@pytest.mark.parametrize(
    ("error", "tokens"),
    [(ServerError("late"), "some"), (RateLimitError("no"), "none"), (ConnectionResetError(), "some")],
)
@simulated_time
async def test_what_may_have_been_worked_on_is_estimated_and_never_zero(error: Exception, tokens: str) -> None:
    """Unknown is not zero; what was refused before any work is."""
    with pytest.raises(type(error)):
        async with build_stack([], FakeTransport([error])).stream(REQUEST) as stream:
            await stream.complete()

    (attempt,) = stream.call.attempts
    assert attempt.usage is not None
    assert (attempt.usage.input_tokens > 0) == (tokens == "some")
    assert attempt.usage_source == ("estimated" if tokens == "some" else "exact")


@simulated_time
async def test_what_the_provider_had_said_of_tokens_survives_a_cut() -> None:
    """A terminal notes the usage as it learns it; an attempt that is cancelled later is recorded with it."""

    async def terminal(request: Request) -> Response:
        out = request.begin()
        out.usage = Usage(123, 0)
        from llamina import TextDelta

        await out.send(TextDelta("some words"))
        await asyncio.sleep(60)
        raise AssertionError

    async with build_stack([], terminal).stream(REQUEST) as stream:
        async for _ in stream:
            break

    usage = stream.call.attempts[0].usage
    assert usage is not None
    assert usage.input_tokens == 123
    assert usage.output_tokens > 0


class Closing:
    """A part that counts how often it was closed."""

    def __init__(self, log: list[str], name: str) -> None:
        self.log, self.name = log, name

    def __call__(self, call_next: Handler) -> Handler:
        return call_next

    async def aclose(self) -> None:
        self.log.append(self.name)


@simulated_time
async def test_a_stack_that_is_entered_closes_its_parts_once_from_the_outside_in() -> None:
    """Layers drain before the transport goes; a stack that is only called closes nothing."""
    log: list[str] = []
    fake = FakeTransport()
    stack = build_stack([Closing(log, "a"), Closing(log, "b")], fake)
    await stack(REQUEST)
    assert log == []

    async with stack:
        pass
    await stack.aclose()

    assert log == ["a", "b"]
    assert fake.closed == 1


@simulated_time
async def test_a_stack_that_is_entered_again_is_closed_again() -> None:
    """A notebook runs the same stack several times; each time what was opened is closed."""
    fake = FakeTransport()
    stack = build_stack([], fake)

    for _ in range(2):
        async with stack:
            await stack(REQUEST)

    assert fake.closed == 2


@simulated_time
async def test_a_part_that_cannot_be_closed_does_not_keep_the_others_open() -> None:
    """All are closed; then the error is raised."""

    class Broken(Closing):
        async def aclose(self) -> None:
            raise OSError("stuck")

    fake = FakeTransport()
    with pytest.raises(OSError, match="stuck"):
        await build_stack([Broken([], "a")], fake).aclose()

    assert fake.closed == 1


def test_a_stack_shows_its_layers_from_the_outside_in() -> None:
    """`print(stack)` is a picture."""
    stack = build_stack([Retry(attempts=5), Timeout(30)], build_stack([], FakeTransport()))

    lines = str(stack).splitlines()

    assert lines[0] == "Stack"
    assert lines[1:3] == ["├─ Retry(attempts=5)", "├─ Timeout(seconds=30)"]
    assert lines[3:] == ["└─ Stack", "   └─ FakeTransport(for ever, 0 calls)"]


def test_stats_are_gathered_under_dotted_names_and_second_layers_are_numbered() -> None:
    """Two layers of one kind do not overwrite each other."""
    stats = build_stack([Timeout(60), Retry(), Timeout(30)], FakeTransport()).stats()

    assert stats["timeout.fired"] == stats["timeout#2.fired"] == 0
    assert "retry.attempts" in stats


async def undecorated(request: Request, call_next: Handler) -> Response:
    """A layer whose decorator was forgotten."""
    return await call_next(request)


def make_a_layer() -> Middleware:
    """What has to be called first."""
    return Retry()


@pytest.mark.parametrize(
    ("layers", "transport", "says"),
    [
        ([Retry], FakeTransport(), "Retry(...)"),
        ([undecorated], FakeTransport(), "@middleware"),
        (["retry"], FakeTransport(), "must be a layer"),
        (Retry(), FakeTransport(), "must be a list of layers"),
        ([lambda call_next: None], FakeTransport(), "returned NoneType"),
        ([], FakeTransport, "build it first"),
        (
            [FakeTransport()],
            FakeTransport(),
            "layers[0] is FakeTransport, which answers requests itself and so goes last",
        ),
        ([build_stack([], FakeTransport())], FakeTransport(), "layers[0] is Stack, which answers requests itself"),
        ([], Retry(), "transport is Retry, which is a layer"),
        ([make_a_layer], FakeTransport(), "call it: make_a_layer(...)"),
        ([], "echo", "must be a handler"),
    ],
)
def test_what_cannot_be_composed_is_found_when_it_is_built(layers: Any, transport: Any, says: str) -> None:
    """The error names the place and the remedy."""
    with pytest.raises(ConfigurationError, match=re.escape(says)):
        build_stack(layers, transport)


@simulated_time
async def test_a_call_with_something_else_than_a_request_is_told_what_to_pass() -> None:
    """The most common first mistake gets a sentence, not an attribute error."""
    with pytest.raises(InvalidRequestError, match=r"Request\.chat"):
        await build_stack([], FakeTransport())("hello")  # type: ignore[arg-type]


@simulated_time
async def test_a_handler_that_returns_no_response_is_named() -> None:
    """Forgetting `return` in a transport is a clear error."""

    async def forgets(request: Request) -> Response:
        return None  # type: ignore[return-value]

    with pytest.raises(TypeError, match="must return a Response"):
        await build_stack([], forgets)(REQUEST)


@pytest.mark.parametrize("layers", [[], [Timeout(5)], [Timeout(5, grace=None)], [Dedup()], [Retry()]])
@pytest.mark.parametrize("streams", [False, True])
@simulated_time
async def test_a_layer_that_forgets_to_return_is_told_so(layers: list[Any], streams: bool) -> None:
    """The commonest mistake gets a sentence, whatever stands above it."""

    @middleware
    async def forgets(request: Request, call_next: Handler) -> Response:
        await call_next(request)  # type: ignore[return]

    stack = build_stack([*layers, forgets], FakeTransport())
    with pytest.raises(TypeError, match="returned NoneType; a handler must return a Response"):
        if streams:
            async with stack.stream(REQUEST) as stream:
                await stream.complete()
        else:
            await stack(REQUEST)


@simulated_time
async def test_a_fake_fails_loudly_when_its_script_has_ended() -> None:
    """No layer may mend a wrong test."""
    fake = FakeTransport(["once"])
    stack = build_stack([Retry(attempts=3)], fake)
    await stack(REQUEST)

    with pytest.raises(ScriptExhaustedError, match="2 times"):
        await stack(REQUEST)


def test_a_bare_number_in_a_script_is_a_pause_without_its_brackets() -> None:
    """A common slip is refused when the fake is built."""
    with pytest.raises(ConfigurationError, match="timeline"):
        FakeTransport([1.0, "late"])
