"""The pytest plugin: simulated time as a fixture, loaded by pytest wherever llamina is installed.

    async def test_backoff(simulated_clock):
        await asyncio.sleep(3600)                  # an hour passes, in milliseconds
        assert simulated_clock.time() == 3600

The one surprise: a coroutine test that asks for the fixture runs in the clock's loop; it needs no other async plugin.
Time stands still from the moment at which the fixture is made: ask for it first, and let other fixtures depend on it.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .clock import SimulatedClock

__all__ = ["pytest_pyfunc_call", "simulated_clock", "simulated_time"]

_FIXTURES = ("simulated_clock", "simulated_time")


@pytest.fixture
def simulated_clock() -> Iterator[SimulatedClock]:
    """A clock that jumps: `run(coro)`, `time()`, `now()`, `advance(seconds)`; loop and wall clock follow it."""
    # Late: this module is loaded in every pytest session, freezegun only where it is used.
    from .clock import simulated_time as simulate

    with simulate() as clock:
        yield clock


@pytest.fixture
def simulated_time(simulated_clock: SimulatedClock) -> SimulatedClock:
    """The same object as `simulated_clock`."""
    return simulated_clock


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a coroutine test that asks for the fixture in the clock's loop."""
    fixtures: dict[str, Any] = pyfuncitem.funcargs
    clock: SimulatedClock | None = next((fixtures[name] for name in _FIXTURES if name in fixtures), None)
    if clock is None or not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    wanted = pyfuncitem._fixtureinfo.argnames  # pytest's own way; it has no public one
    clock.run(pyfuncitem.obj(**{name: fixtures[name] for name in wanted}))
    return True
