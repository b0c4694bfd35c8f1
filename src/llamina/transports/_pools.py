"""Many small pools of connections in the place of one large one, for httpx and httpx2.

    pools = Pools(new_client, 1000, PoolTimeout)
    pool = await pools.take(600.0)               # waits for a place
    try:
        response = await pool.client.send(...)
    finally:
        pool.leave()

The one surprise: the pool of httpx looks at each of its connections on each call, and that of httpx 0.28 at each waiting
call too: 512 calls at once in one pool take seven times the CPU of the same calls in pools of 16 with httpx2, and twenty
times with httpx 0.28.

And: httpx 0.28 can lose the connection of a call that is cancelled, so that its pool never lends it again. A pool in
which that may have happened is taken out of use, and closed when its last call has ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

__all__ = ["POOL_SIZE", "Pool", "Pools"]

POOL_SIZE = 16
"""Connections of one pool."""


class Pool:
    """A client and the calls that it has in flight; *suspect* once it may have lost a connection."""

    __slots__ = ("_places", "client", "fragile", "in_flight", "suspect")

    def __init__(self, client: Any, places: asyncio.Semaphore | None = None, *, fragile: bool = False) -> None:
        self.client = client
        self.fragile = fragile
        self.in_flight = 0
        self.suspect = False
        self._places = places

    def leave(self) -> None:
        """A call has ended."""
        self.in_flight -= 1
        if self._places is not None:
            self._places.release()

    def note(self, error: BaseException) -> None:
        """A call was broken off by *error*: a cancellation may have lost its connection."""
        if self.fragile and not isinstance(error, Exception):
            self.suspect = True


class Pools:
    """Clients with few connections each, filled one after the other: few calls share the connections of the first.

    Args:
        new_client: makes a client with as many connections as it is told.
        connections: how many there may be in all pools together.
        full: makes the exception for a wait that was too long, from its text.
        fragile: whether a cancellation may lose a connection.
    """

    def __init__(
        self,
        new_client: Callable[[int], Any],
        connections: int,
        full: Callable[[str], Exception],
        *,
        fragile: bool = False,
    ) -> None:
        self._new_client = new_client
        self._size = min(POOL_SIZE, connections)
        self._full = full
        self._fragile = fragile
        # Places for all pools together: who waits gets the first connection that is free, whichever pool it is in.
        self._places = asyncio.Semaphore(connections)
        self._pools = [self._new_pool()]
        self._retired: list[Pool] = []

    @property
    def in_flight(self) -> int:
        """Calls that have a place."""
        return sum([pool.in_flight for pool in [*self._pools, *self._retired]])

    @property
    def first(self) -> Any:
        """The client of the first pool."""
        return self._pools[0].client

    def _new_pool(self) -> Pool:
        return Pool(self._new_client(self._size), self._places, fragile=self._fragile)

    async def take(self, seconds: float) -> Pool:
        """The first pool that has a connection left, with a place in it, which `Pool.leave` gives back.

        Raises:
            what *full* makes: no connection became free within *seconds*.
        """
        if self._fragile and (self._retired or any([pool.suspect for pool in self._pools])):
            await self._retire()
        if self._places.locked():
            try:
                async with asyncio.timeout(seconds):
                    await self._places.acquire()
            except TimeoutError:
                raise self._full(f"no connection became free within {seconds:.3g} s") from None
        else:
            await self._places.acquire()  # does not wait
        pool = self._free_pool()
        pool.in_flight += 1
        return pool

    def _free_pool(self) -> Pool:
        """The first pool that has a connection left; whoever asks has a place."""
        for pool in self._pools:
            if pool.in_flight < self._size and not pool.suspect:
                return pool
        self._pools.append(self._new_pool())
        return self._pools[-1]

    async def _retire(self) -> None:
        """Take suspect pools out of use, and close those whose last call has ended."""
        retired = [*self._retired, *[pool for pool in self._pools if pool.suspect]]
        self._pools = [pool for pool in self._pools if not pool.suspect]
        # Sorted out before anything is awaited: another call may be doing the same.
        idle = [pool for pool in retired if not pool.in_flight]
        self._retired = [pool for pool in retired if pool.in_flight]
        try:
            while idle:
                await idle[-1].client.aclose()
                idle.pop()
        finally:
            self._retired += idle  # what a cancellation left open is closed another time

    async def aclose(self) -> None:
        """Close the clients."""
        for pool in [*self._pools, *self._retired]:
            await pool.client.aclose()
