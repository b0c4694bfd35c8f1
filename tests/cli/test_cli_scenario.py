"""The traffic of the demo: the same from the same seed, and made so that every layer has something to do."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal

import pytest

from llamina.cli.demo import answers
from llamina.cli.scenario import SPENDER, USERS, Scenario, plan
from llamina.policy.money import to_decimal
from llamina.protocol import Request
from llamina.testing.provider_script import Status


def test_the_same_seed_makes_the_same_traffic() -> None:
    """A demo can be repeated."""
    assert plan(seed=3).calls == plan(seed=3).calls
    assert plan(seed=3).calls != plan(seed=4).calls


@pytest.mark.parametrize("calls", [20, 37, 300, 2000])
def test_as_many_calls_are_planned_as_were_asked_for(calls: int) -> None:
    """Whatever the number, in the order of their moments and within the time."""
    scenario = plan(calls=calls, seconds=5.0)

    moments = [call.at for call in scenario.calls]

    assert len(moments) == calls
    assert moments == sorted(moments)
    assert moments[0] >= 0.0
    assert moments[-1] < 5.0


def test_the_acts_follow_each_other_and_fill_the_time() -> None:
    """The display always knows which one is on."""
    scenario = plan(seconds=9.0)

    ends = [act.until for act in scenario.acts]

    assert [act.since for act in scenario.acts] == [0.0, *ends[:-1]]
    assert ends[-1] == pytest.approx(9.0)
    assert scenario.act_at(100.0).name == "recovery"


def test_a_long_demo_is_a_short_one_in_slow_motion() -> None:
    """Latencies and waits grow with the length."""
    short, long = plan(seconds=9.0), plan(seconds=90.0)

    assert long.calls[5].question.latency == pytest.approx(10 * short.calls[5].question.latency)
    assert long.unit == pytest.approx(10 * short.unit)


def test_every_layer_has_something_to_do() -> None:
    """Streams, some left early, repeated questions, all kinds of faults."""
    calls = plan().calls

    prompts = Counter([call.question.prompt for call in calls])
    faults = {fault for call in calls for fault in call.question.faults}

    assert sum([call.streams for call in calls]) > 80
    assert sum([call.leaves_after is not None for call in calls]) > 5
    assert sum([count - 1 for count in prompts.values()]) > 60
    assert faults == {"429", "500", "garbage", "hang up", "stall", "cut"}


def test_the_budget_ends_for_one_user_only() -> None:
    """The spender wants twice the budget, nobody else wants all of it for new answers."""
    scenario = plan()

    wanted = {user: Decimal(0) for user in USERS}
    for call in scenario.calls:
        wanted[call.user] += to_decimal(call.question.cost)

    assert wanted[SPENDER] >= 2 * scenario.budget
    assert scenario.budget > 0


def script_at(scenario: Scenario, moment: float, request: Request) -> object:
    """What the provider of the demo plays at a moment."""
    return answers(scenario, lambda: moment)(request)


def test_every_question_fails_during_the_outage() -> None:
    """Whatever it would have met otherwise."""
    scenario = plan()
    request = Request.chat("sim-mini", scenario.calls[0].question.prompt)
    since, until = scenario.outage

    assert script_at(scenario, (since + until) / 2, request).status == 503
    assert isinstance(script_at(scenario, until, request), list)


def test_the_faults_of_a_question_are_played_one_by_one() -> None:
    """After them it is answered."""
    scenario = plan()
    question = next(call.question for call in scenario.calls if call.question.faults == ("429", "500"))
    play = answers(scenario, lambda: 0.0)
    request = Request.chat("sim-mini", question.prompt)

    first, second, third = play(request), play(request), play(request)

    assert isinstance(first, Status)
    assert (first.status, second.status) == (429, 500)
    assert "".join([piece for piece in third if isinstance(piece, str)]) == "".join(question.words)
