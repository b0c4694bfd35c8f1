"""Dedup: concurrent requests for the same thing make one upstream call."""

from __future__ import annotations

import asyncio
import gc
import weakref
from contextvars import ContextVar
from typing import Any

import pytest

from llamina import ConfigurationError, InvalidRequestError, LLMError, Request, Response, ServerError, build_stack
from llamina.layers.dedup import Dedup
from llamina.testing import FakeTransport, simulated_time

ASK = Request.chat("model", "Why is the sky blue?")


@simulated_time
async def test_a_thousand_equal_requests_make_one_upstream_call() -> None:
    """A thousand concurrent callers get the same answer from one call, and exactly one of them pays."""
    fake = FakeTransport([["be", 1.0, "cause"]])
    stack = build_stack([Dedup()], fake)

    answers = await asyncio.gather(*(stack(ASK) for _ in range(1000)))

    assert fake.calls == 1
    assert {response.text for response in answers} == {"because"}
    assert sum(len(response.call.attempts) for response in answers) == 1
    assert len({id(response.call) for response in answers}) == 1000


@simulated_time
async def test_the_first_caller_pays_and_the_others_joined() -> None:
    """The attempt is on the call of the caller who began; a joined call has none and costs nothing."""
    stack = build_stack([Dedup()], FakeTransport([[1.0, "yes"]]))

    first, second = await asyncio.gather(stack(ASK), stack(ASK))

    assert (len(first.call.attempts), first.call.joins) == (1, 0)
    assert (len(second.call.attempts), second.call.joins, second.call.cost) == (0, 1, 0)
    assert second.call.joined


@simulated_time
async def test_different_requests_fly_apart() -> None:
    """A parameter more makes it another question."""
    fake = FakeTransport([[1.0, "a"], [1.0, "b"]])
    stack = build_stack([Dedup()], fake)

    await asyncio.gather(stack(ASK), stack(ASK.with_params(temperature=0.5)))

    assert fake.calls == 2


@simulated_time
async def test_tenants_never_share_a_flight() -> None:
    """The tag tenant keeps callers apart; other tags only do when the layer is scoped by them."""
    fake = FakeTransport([[1.0, "answer"]], repeat=True)
    stack = build_stack([Dedup()], fake)
    tags: list[dict[str, str]] = [
        {"tenant": "a"},
        {"tenant": "b"},
        {},
        {"user": "ada"},
        {"user": "bob"},
        {"tenant": ""},
    ]

    await asyncio.gather(*(stack(ASK.evolve(tags=each)) for each in tags))

    assert fake.calls == 4


@simulated_time
async def test_scope_keeps_the_values_of_a_tag_apart() -> None:
    """With a scope, callers share only when those tags are equal too."""
    fake = FakeTransport([[1.0, "answer"]], repeat=True)
    stack = build_stack([Dedup(scope="user")], fake)

    await asyncio.gather(*(stack(ASK.evolve(tags={"user": user})) for user in ("ada", "bob", "ada")))

    assert fake.calls == 2


@simulated_time
async def test_nothing_is_remembered_after_the_flight() -> None:
    """A request that comes when the answer has been taken makes a call of its own."""
    fake = FakeTransport(["first", "second"])
    stack = build_stack([Dedup()], fake)

    texts = [(await stack(ASK)).text, (await stack(ASK)).text]

    assert texts == ["first", "second"]


@simulated_time
async def test_an_error_goes_to_all_who_joined_each_with_a_copy_of_his_own() -> None:
    """The payer gets the very object, every other caller a copy with his own call; the next request starts afresh."""
    failure = ServerError("down", status=500)
    stack = build_stack([Dedup()], FakeTransport([[1.0, failure], "better"]))

    errors: list[Any] = await asyncio.gather(*(stack(ASK) for _ in range(3)), return_exceptions=True)
    after = await stack(ASK)

    assert errors[0] is failure
    assert len({id(error) for error in errors}) == len({id(error.call) for error in errors}) == 3
    assert all(type(error) is ServerError and error.status == 500 for error in errors)
    assert sum(len(error.call.attempts) for error in errors) == 1
    assert after.text == "better"


@simulated_time
async def test_an_error_that_is_not_ours_reaches_everybody_too() -> None:
    """A bug below is raised in every caller, copied where it can be."""
    bug = LookupError("a bug below")
    stack = build_stack([Dedup()], FakeTransport([[1.0, bug]]))

    errors = await asyncio.gather(stack(ASK), stack(ASK), return_exceptions=True)

    assert errors[0] is bug
    assert isinstance(errors[1], LookupError)
    assert errors[1] is not bug


@simulated_time
async def test_context_variables_of_the_first_caller_stay_his() -> None:
    """A flight runs in an empty context, plus the variables that are named."""
    tenant, trace = ContextVar("tenant", default="none"), ContextVar("trace", default="none")
    unset: ContextVar[str] = ContextVar("unset")
    seen: list[tuple[str, str]] = []

    async def below(request: Request) -> Response:
        seen.append((tenant.get(), trace.get()))
        return Response.of("x")

    stack = build_stack([Dedup(context=(trace, unset))], below)
    tenant.set("a")
    trace.set("t1")

    await stack(ASK)

    assert seen == [("none", "t1")]


@simulated_time
async def test_a_flight_takes_no_deadline_from_its_first_caller() -> None:
    """What is one caller's limit is not the others'."""
    fake = FakeTransport([[1.0, "answer"]])
    stack = build_stack([Dedup()], fake)
    deadline = asyncio.get_running_loop().time() + 60

    await stack(ASK.evolve(deadline=deadline))

    assert fake.requests[0].deadline is None


@simulated_time
async def test_what_leaves_something_behind_is_done_for_each_caller() -> None:
    """A request that the provider is to keep never shares; `side_effects` says what else does not."""
    fake = FakeTransport([[1.0, "answer"]], repeat=True)
    stored = build_stack([Dedup()], fake)
    own_rule = build_stack([Dedup(side_effects=lambda request: "tools" in request.params)], fake)

    await asyncio.gather(*(stored(ASK.with_params(store=True)) for _ in range(2)))
    await asyncio.gather(*(own_rule(ASK.with_params(tools=[])) for _ in range(2)))

    assert fake.calls == 4


@simulated_time
async def test_one_layer_twice_on_a_path_does_not_wait_for_itself() -> None:
    """A flight that meets its own layer again goes through."""
    dedup = Dedup()
    fake = FakeTransport([[1.0, "answer"]])
    stack = build_stack([dedup, dedup], fake, check="off")

    response = await stack(ASK)

    assert (response.text, fake.calls) == ("answer", 1)


@simulated_time
async def test_a_request_without_identity_is_refused() -> None:
    """A NaN equals nothing, so it can share nothing, and no provider takes it."""
    stack = build_stack([Dedup()], FakeTransport("x"))

    with pytest.raises(InvalidRequestError, match="nan"):
        await stack(ASK.with_params(temperature=float("nan")))


@simulated_time
async def test_stats_count_flights_and_callers() -> None:
    """Flights begun, callers who joined one, and what is in the air at this moment."""
    dedup = Dedup()
    stack = build_stack([dedup], FakeTransport([[1.0, "answer"]]))
    callers = [asyncio.create_task(stack(ASK)) for _ in range(3)]  # type: ignore[arg-type]
    await asyncio.sleep(0.5)

    during = dict(dedup.stats())
    await asyncio.gather(*callers)

    assert during == {"dedup.flights": 1, "dedup.joined": 2, "dedup.in_flight": 1, "dedup.cancelled": 0}
    assert dedup.stats()["dedup.in_flight"] == 0


@simulated_time
async def test_it_works_alone() -> None:
    """Round a bare handler it opens the calls and records the attempt itself."""
    fake = FakeTransport([[1.0, "answer"]])
    handler = Dedup()(fake)

    one, other = await asyncio.gather(handler(ASK), handler(ASK))

    assert fake.calls == len(one.call.attempts) + len(other.call.attempts) == 1


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"scope": ("user", 3)}, r"Dedup\.scope .* 3"),
        ({"scope": 7}, r"Dedup\.scope .* 7"),
        ({"context": ("trace",)}, r"Dedup\.context .* 'trace'"),
        ({"max_buffer": 0}, r"Dedup\.max_buffer .* 0"),
        ({"max_buffer": 1.5}, r"Dedup\.max_buffer .* 1\.5"),
    ],
)
def test_a_wrong_setting_is_refused_when_it_is_built(settings: dict[str, Any], names: str) -> None:
    """The error names the field and the value."""
    with pytest.raises(ConfigurationError, match=names):
        Dedup(**settings)


def test_its_repr_shows_the_settings_only() -> None:
    """No state, no function, nothing that a request brought."""
    shown = repr(Dedup(scope="user"))

    assert shown == "Dedup(scope=('user',))"


@simulated_time
async def test_a_cancellation_from_below_reaches_every_caller_as_one() -> None:
    """What a handler below cancels is cancelled for everybody: Dedup turns it into nothing else."""
    stack = build_stack([Dedup()], FakeTransport([[1.0, asyncio.CancelledError("from below")]]))
    callers = [asyncio.create_task(stack(ASK)) for _ in range(2)]  # type: ignore[arg-type]

    await asyncio.wait(callers)

    assert all(caller.cancelled() for caller in callers)


@simulated_time
async def test_a_copied_error_keeps_its_cause() -> None:
    """A follower's copy says why, as the original does."""
    cause = OSError("reset")

    async def below(request: Request) -> Response:
        await asyncio.sleep(1)
        raise LLMError("cut") from cause

    stack = build_stack([Dedup()], below)

    errors: list[Any] = await asyncio.gather(stack(ASK), stack(ASK), return_exceptions=True)

    assert errors[0] is not errors[1]
    assert errors[1].__cause__ is cause


@simulated_time
async def test_an_error_that_was_raised_is_freed_without_the_collector() -> None:
    """Error, traceback and flight hold each other no longer than the callers do."""

    async def below(request: Request) -> Response:
        await asyncio.sleep(1)
        raise LLMError("down")

    stack = build_stack([Dedup()], below)
    gc.disable()
    try:
        errors = await asyncio.gather(*(stack(ASK) for _ in range(3)), return_exceptions=True)
        watched = [weakref.ref(error) for error in errors]
        del errors
        await asyncio.sleep(1)
        freed = [reference() is None for reference in watched]
    finally:
        gc.enable()

    assert freed == [True, True, True]
