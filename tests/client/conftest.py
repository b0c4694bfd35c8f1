"""The async and the blocking client behind one interface, so that one suite is the contract of both."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any, Self

import pytest

from llamina import Client, Stack


class Driven:
    """An async object, each coroutine of which is run to its end: it looks like its blocking counterpart."""

    def __init__(self, target: Any, runner: asyncio.Runner) -> None:
        self.target = target
        self.runner = runner

    def __getattr__(self, name: str) -> Any:
        return self.seen(getattr(self.target, name))

    def seen(self, value: Any) -> Any:
        if asyncio.iscoroutine(value):
            return self.seen(self.runner.run(value))
        if hasattr(value, "__anext__") or type(value).__name__ in ("Client", "Conversation"):
            return Driven(value, self.runner)
        if callable(value) and not isinstance(value, Stack):
            return lambda *args, **kwargs: self.seen(value(*args, **kwargs))
        return value

    def __enter__(self) -> Self:
        self.runner.run(self.target.__aenter__())
        return self

    def __exit__(self, *error: object) -> None:
        self.runner.run(self.target.__aexit__(*error))

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        async def step() -> list[Any]:
            try:
                return [await anext(self.target)]
            except StopAsyncIteration:
                return []

        for event in self.runner.run(step()):
            return event
        raise StopIteration


@pytest.fixture(params=["async", "blocking"])
def client_of(request: pytest.FixtureRequest) -> Iterator[Any]:
    """`Client` as sync code sees it, through each of the two faces."""
    with asyncio.Runner() as runner:
        if request.param == "async":
            yield lambda *args, **settings: Driven(Client(*args, **settings), runner)
        else:
            yield lambda *args, **settings: Client(*args, **settings).blocking()
