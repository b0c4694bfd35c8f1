"""What the backoff promises: no network, and nothing really sleeps."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from llamina import ConfigurationError, Request, Retry, ServerError, build_stack, load_stack
from llamina.testing import FakeTransport, check_backoff, simulated_time

from llamina_steps import Steps


def test_it_keeps_the_contract_of_backoffs() -> None:
    """Every clause of the kit holds, with and without chance."""
    assert check_backoff(Steps)
    assert check_backoff(lambda: Steps([0, 2], jitter=0))


def test_the_last_step_is_kept() -> None:
    """After the list is used up its last wait goes on."""
    steps = Steps([1, 5, 30], jitter=0)

    assert [steps.delay(attempt) for attempt in range(1, 6)] == [1, 5, 30, 30, 30]


def test_chance_takes_its_share_and_no_more() -> None:
    """A quarter of four seconds."""
    steps = Steps([4], jitter=0.25)

    waits = [steps.delay(1) for _ in range(200)]

    assert 3 <= min(waits) < 3.5 < max(waits) <= 4


@simulated_time
async def test_retry_waits_by_it() -> None:
    """Two failures, after one and after five seconds."""
    fake = FakeTransport([ServerError("down"), ServerError("down"), "up"])
    stack = build_stack([Retry(attempts=3, backoff=Steps([1, 5], jitter=0))], fake)
    clock = asyncio.get_running_loop().time
    started = clock()

    await stack(Request.chat("m", "hi"))

    assert clock() - started == 6


@pytest.mark.parametrize(
    "wrong",
    [{"seconds": []}, {"seconds": [5, 1]}, {"seconds": [-1]}, {"seconds": 3}, {"seconds": "1"}, {"jitter": 2}],
    ids=str,
)
def test_a_wrong_setting_is_refused_when_it_is_built(wrong: dict[str, Any]) -> None:
    """The error names the setting and the value."""
    ((name, _),) = wrong.items()

    with pytest.raises(ConfigurationError, match=rf"Steps\.{name} must be .*, got"):
        Steps(**wrong)


def test_a_stack_file_finds_it_by_name() -> None:
    """The installed package announces the backoff."""
    stack = load_stack(
        {
            "layers": [{"type": "retry", "backoff": {"type": "steps", "seconds": [2, 4]}}],
            "transport": {"type": "echo"},
        }
    )

    (layer,) = stack.layers
    assert isinstance(layer, Retry)
    assert layer.backoff == Steps([2, 4])
