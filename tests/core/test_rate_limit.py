"""What providers say of rate limits, on the attempt, the call, the answer and the error."""

from __future__ import annotations

import asyncio
import pickle

import pytest

from llamina import Cache, Dedup, RateLimitError, Request, Response, Retry, ServerError, build_stack
from llamina.testing import FakeTransport, answer, simulated_time

REQUEST = Request.chat("m", "hi")
PLENTY = {"remaining_tokens": 159_976, "reset_tokens": 0.009}
LITTLE = {"remaining_tokens": 12, "reset_tokens": 360.0}


def said(text: str = "hi", limits: dict[str, float] | None = None) -> Response:
    """An answer whose headers said *limits*."""
    return answer(text, rate_limit=limits)


@pytest.mark.parametrize("streams", [False, True])
@simulated_time
async def test_an_answer_and_its_call_say_what_is_left(streams: bool) -> None:
    """On the Response, on the attempt and on the call, streamed or not."""
    stack = build_stack([], FakeTransport(said(limits=PLENTY)))

    if streams:
        async with stack.stream(REQUEST) as stream:
            response = await stream.complete()
    else:
        response = await stack(REQUEST)

    assert response.rate_limit is not None
    assert response.rate_limit["remaining_tokens"] == 159_976
    assert response.call.attempts[0].rate_limit == response.call.rate_limit == PLENTY


@simulated_time
async def test_an_error_and_its_call_say_what_is_left() -> None:
    """A refusal is where it matters most."""
    stack = build_stack([], FakeTransport([RateLimitError("too fast", rate_limit=LITTLE)]))

    with pytest.raises(RateLimitError) as caught:
        await stack(REQUEST)

    error = caught.value
    assert error.rate_limit == LITTLE
    assert error.call.attempts[0].rate_limit == error.call.rate_limit == LITTLE


@simulated_time
async def test_of_several_attempts_the_latest_word_counts() -> None:
    """Each attempt keeps its own; the call gives the last."""
    script = [RateLimitError("too fast", rate_limit=LITTLE), said(limits=PLENTY)]
    stack = build_stack([Retry(attempts=2)], FakeTransport(script))

    response = await stack(REQUEST)

    assert [attempt.rate_limit for attempt in response.call.attempts] == [LITTLE, PLENTY]
    assert response.call.rate_limit == PLENTY


@pytest.mark.parametrize("later", [ServerError("500"), said()])
@simulated_time
async def test_an_attempt_that_said_nothing_does_not_hide_what_was_said_before(later: Response | Exception) -> None:
    """A proxy's error page has no such headers, and the limit is still what it was."""
    script = [RateLimitError("too fast", rate_limit=LITTLE), later, said("done")]
    stack = build_stack([Retry(attempts=3)], FakeTransport(script))

    response = await stack(REQUEST)

    assert response.call.attempts[-1].rate_limit is None
    assert response.call.rate_limit == LITTLE


@simulated_time
async def test_what_nobody_said_is_none() -> None:
    """Unknown is neither empty nor zero, in flight and afterwards."""
    fake = FakeTransport([[1.0, "hi"]])
    stack = build_stack([], fake)

    async with stack.stream(REQUEST) as stream:
        during = stream.call.rate_limit
        response = await stream.complete()

    assert (during, response.rate_limit, response.call.rate_limit) == (None, None, None)


@simulated_time
async def test_an_answer_from_a_cache_says_nothing_of_limits() -> None:
    """What was left when it was stored is not what is left now."""
    stack = build_stack([Cache()], FakeTransport(said(limits=PLENTY)))

    first, hit = await stack(REQUEST), await stack(REQUEST)

    assert first.call.rate_limit == PLENTY
    assert hit.call.cached
    assert hit.rate_limit is None
    assert hit.call.rate_limit is None


@simulated_time
async def test_whoever_joins_a_flight_has_no_attempt_that_says_something() -> None:
    """The attempt is on the account of the caller who began the flight."""
    stack = build_stack([Dedup()], FakeTransport([[1.0, said(limits=PLENTY)]]))

    first, second = await asyncio.gather(stack(REQUEST), stack(REQUEST))

    assert first.call.rate_limit == PLENTY
    assert second.call.joined
    assert second.call.rate_limit is None


@simulated_time
async def test_a_pickled_call_keeps_what_was_said() -> None:
    """Calls travel between processes with their attempts, and so do answers and errors."""
    script = [RateLimitError("too fast", rate_limit=LITTLE), said(limits=PLENTY)]
    stack = build_stack([Retry(attempts=2)], FakeTransport(script))
    response = await stack(REQUEST)

    call = pickle.loads(pickle.dumps(response.call))
    error = pickle.loads(pickle.dumps(RateLimitError("x", rate_limit=LITTLE)))

    assert [attempt.rate_limit for attempt in call.attempts] == [LITTLE, PLENTY]
    assert call.rate_limit == PLENTY
    assert error.rate_limit == LITTLE
    assert pickle.loads(pickle.dumps(response)).rate_limit == PLENTY
