"""Cache and its store: whatever breaks there is a miss and a warning, never a failed call."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from llamina import MemoryCache, Request, SQLiteCache, build_stack
from llamina.layers.cache import Cache
from llamina.stores.base import Entry, StoreError
from llamina.testing import FakeTransport, answer, simulated_time

ASK = Request.chat("model", "hello")


class Faulty(MemoryCache):
    """A store whose operations do what the test says first."""

    def __init__(self, **faults: Any) -> None:
        super().__init__()
        self.faults = faults
        self.asked: list[str] = []

    async def _maybe(self, name: str) -> None:
        self.asked.append(name)
        fault = self.faults.get(name)
        if isinstance(fault, float):
            await asyncio.sleep(fault)
        elif fault is not None:
            raise fault

    async def get(self, key: str, /) -> Entry | None:
        await self._maybe("get")
        return await super().get(key)

    async def set(self, key: str, value: bytes, /, **times: Any) -> None:
        await self._maybe("set")
        await super().set(key, value, **times)

    async def delete(self, key: str, /) -> None:
        await self._maybe("delete")
        await super().delete(key)


@pytest.mark.parametrize("operation", ["get", "set"])
@pytest.mark.parametrize("fault", [StoreError("disk full"), OSError("gone"), 3600.0], ids=["store", "os", "hangs"])
@simulated_time
async def test_a_broken_store_fails_no_call(operation: str, fault: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Plain or streamed, the caller gets his answer, and the log says that the store is out of order."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    stack = build_stack([Cache(Faulty(**{operation: fault}))], FakeTransport("answer"))

    response = await stack(ASK)
    async with stack.stream(ASK) as stream:
        streamed = await stream.complete()

    assert (response.text, streamed.text) == ("answer", "answer")
    assert stack.stats()["cache.errors"] >= 1
    assert loop.time() - started < 1
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert f"Faulty.{operation}" in caplog.text


@simulated_time
async def test_a_store_that_hangs_is_left_alone_for_a_while() -> None:
    """After one wait in vain, calls go by without asking it, until it is tried again."""
    store = Faulty(get=3600.0)
    stack = build_stack([Cache(store, store_timeout=0.5, store_rest=10)], FakeTransport("answer"))
    loop = asyncio.get_running_loop()
    started = loop.time()

    for _ in range(20):
        await stack(ASK)
    waited = loop.time() - started
    store.faults.clear()
    await asyncio.sleep(10)
    await stack(ASK)

    assert waited == pytest.approx(0.5)
    assert store.asked == ["get", "get", "set"]
    assert (await stack(ASK)).call.cached


@simulated_time
async def test_warnings_come_once_a_minute() -> None:
    """A store that stays broken does not flood the log; the count goes on."""
    records: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = records.append  # type: ignore[method-assign]
    logging.getLogger("llamina").addHandler(handler)
    stack = build_stack([Cache(Faulty(get=OSError("gone")))], FakeTransport("answer"))

    for _ in range(130):
        await stack(ASK)
        await asyncio.sleep(1)
    logging.getLogger("llamina").removeHandler(handler)

    assert len(records) == 3
    assert stack.stats()["cache.errors"] == 130


@simulated_time
async def test_a_warning_holds_nothing_that_the_store_said(caplog: pytest.LogCaptureFixture) -> None:
    """An error's text may hold an address with a password: only its kind is logged."""
    stack = build_stack([Cache(Faulty(get=OSError("redis://user:pass@host refused")))], FakeTransport("answer"))

    await stack(ASK)

    assert "pass" not in caplog.text.replace("passes", "")
    assert "OSError" in caplog.text


@simulated_time
async def test_a_log_handler_that_raises_fails_no_call() -> None:
    """A fault in reporting a fault stays there."""

    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise RuntimeError("the log is full")

    handler = Broken()
    logging.getLogger("llamina").addHandler(handler)
    try:
        response = await build_stack([Cache(Faulty(get=OSError("gone")))], FakeTransport("answer"))(ASK)
    finally:
        logging.getLogger("llamina").removeHandler(handler)

    assert response.text == "answer"


@pytest.mark.parametrize(
    "value",
    [b"", b"no json", b'{"schema": 1}', b'[999, {"message": {"role": "assistant"}}]', b'[1, {"message": 3}]', b"\xff"],
)
@simulated_time
async def test_what_cannot_be_read_is_a_miss_and_is_deleted(value: bytes) -> None:
    """Damaged, of another version or no answer at all: asked again, and written anew."""
    keys: list[str] = []

    class Spoiled(MemoryCache):
        async def get(self, key: str, /) -> Entry | None:
            keys.append(key)
            return await super().get(key)

        async def delete(self, key: str, /) -> None:
            keys.append("deleted")
            await super().delete(key)

    store = Spoiled()
    stack = build_stack([Cache(store)], FakeTransport(["first", "second"]))
    await stack(ASK)
    await store.set(keys[0], value)

    assert (await stack(ASK)).text == "second"
    assert "deleted" in keys
    assert (await stack(ASK)).call.cached


@pytest.mark.parametrize("found", [{"value": b"x"}, b"bytes", 3, object()])
@simulated_time
async def test_a_store_that_gives_nonsense_is_a_miss(found: Any) -> None:
    """What is no entry is none."""

    class Nonsense(MemoryCache):
        async def get(self, key: str, /) -> Any:
            return found

    class Late(MemoryCache):
        async def get(self, key: str, /) -> Any:
            await asyncio.sleep(0.01)
            return found

    for store in (Nonsense(), Late()):
        stack = build_stack([Cache(store)], FakeTransport("answer"))
        assert (await stack(ASK)).text == "answer"
        assert stack.stats()["cache.errors"] == 1


@simulated_time
async def test_an_answer_that_cannot_be_written_down_is_still_an_answer() -> None:
    """What has no form in JSON is not stored, and nothing fails."""
    stack = build_stack([Cache()], FakeTransport([answer("x", extra={"object": object()})] * 2))

    first, again = await stack(ASK), await stack(ASK)

    assert (first.text, again.text, again.call.cached) == ("x", "x", False)
    assert stack.stats()["cache.errors"] == 2


@simulated_time
async def test_a_cancellation_while_the_store_is_asked_is_a_cancellation() -> None:
    """The caller's own cancellation is no fault of the store."""
    stack = build_stack([Cache(Faulty(get=0.2), store_timeout=None)], FakeTransport("answer"))
    caller = asyncio.create_task(stack(ASK))  # type: ignore[arg-type]
    await asyncio.sleep(0.1)

    caller.cancel()
    await asyncio.wait([caller])

    assert caller.cancelled()
    assert stack.stats()["cache.errors"] == 0


@simulated_time
async def test_a_value_too_large_for_the_store_is_not_kept_and_not_missed() -> None:
    """The store's bound is the store's affair."""
    stack = build_stack([Cache(MemoryCache(maxbytes=100))], FakeTransport("long " * 100))

    texts = {(await stack(ASK)).text for _ in range(2)}

    assert texts == {"long " * 100}
    assert stack.stats()["cache.hits"] == 0


def test_answers_in_a_file_outlive_the_process(tmp_path: Any) -> None:
    """Another stack, later, with a store on the same file finds them."""

    async def ask(script: list[Any]) -> bool:
        async with build_stack([Cache(SQLiteCache(tmp_path / "answers.db"))], FakeTransport(script)) as stack:
            return (await stack(ASK)).call.cached

    assert [asyncio.run(ask(["answer"])), asyncio.run(ask([]))] == [False, True]
