"""What every store must do, as a check that runs over yours.

    def test_my_store_keeps_the_contract():
        check_store(lambda: MyStore(url, prefix=uuid4().hex))

Each clause gets a new store, runs in simulated time, and closes the store. The clauses that do not hold come together in
one `ConformanceError`, which names them and says what was found instead.

The one surprise: expiry is tested by letting simulated seconds pass. A store whose clock simulated time does not move
(a server of its own process, say) cannot keep the clauses about time: pass `timed=False`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from llamina.stores.base import Store

from ._bench import Clause
from ._report import Report, judge
from ._store_clauses import STORE, STORE_TIMED
from .clock import one_freeze, simulated_time
from .conformance import build_once

__all__ = ["check_store", "examine_store"]


def check_store(factory: Callable[[], Store], *, timed: bool = True, only: Iterable[str] | None = None) -> list[str]:
    """Run every clause over a store of its own; the names of the clauses that held.

    Args:
        factory: makes a store that is empty and has no default `ttl`.
        timed: whether simulated time moves the store's clock.
        only: names of clauses, to play these alone.

    Raises:
        ConformanceError: clauses were broken; the message and `.broken` say which and how.
        ConfigurationError: *factory* cannot be called, or *only* names a clause that there is not.
        RuntimeError: called inside a running event loop.
    """
    return examine_store(factory, timed=timed, only=only).names()


def examine_store(factory: Callable[[], Store], *, timed: bool = True, only: Iterable[str] | None = None) -> Report:
    """As `check_store`, with a verdict on each clause in place of an error."""
    with one_freeze():
        name = type(build_once("check_store", factory)).__name__

        def play(clause: Clause) -> None:
            @simulated_time
            async def run() -> None:
                store = factory()
                try:
                    await clause.check(store)
                finally:
                    await store.aclose()

            run()

        entries = [*STORE.entries, *(STORE_TIMED.entries if timed else ())]
        return judge(name, entries, play, only=only, of="the contract of stores")
