"""A layer of your own, its tests without network or sleeping, and the kit that judges it.

python examples/write_and_test_a_layer.py
"""

import asyncio

from llamina import Handler, InvalidRequestError, Request, Response, build_stack, middleware
from llamina.testing import ConformanceError, FakeTransport, check_middleware, simulated_time


@middleware
async def no_shouting(request: Request, call_next: Handler) -> Response:
    """Refuse prompts in capitals."""
    if request.messages[-1].text.isupper():
        raise InvalidRequestError("please do not shout")
    return await call_next(request)


class ConcurrencyLimit:
    """At most *limit* calls in flight, streams included."""

    def __init__(self, limit: int) -> None:
        self._free = asyncio.Semaphore(limit)

    def __call__(self, call_next: Handler) -> Handler:
        """The layer round *call_next*."""

        async def handle(request: Request) -> Response:
            async with self._free:
                return await call_next(request)

        return handle


def leaky(call_next: Handler) -> Handler:
    """The same as one writes it at first: the slot is lost when the call fails or is cancelled."""
    free = asyncio.Semaphore(1)

    async def handle(request: Request) -> Response:
        await free.acquire()
        response = await call_next(request)
        free.release()
        return response

    return handle


@simulated_time
async def test_it_refuses_before_the_transport() -> None:
    """Nothing reaches the transport."""
    fake = FakeTransport("hello")

    refused = False
    try:
        await no_shouting(fake)(Request.chat("m", "HELLO"))
    except InvalidRequestError:
        refused = True

    assert refused
    assert fake.calls == 0


@simulated_time
async def test_a_slot_is_held_until_the_stream_ends() -> None:
    """Three streams of ten seconds, one after the other: thirty simulated seconds, no real one."""
    fake = FakeTransport([["first ", 10.0, "second"]], repeat=True)
    stack = build_stack([ConcurrencyLimit(1)], fake)

    async def read() -> None:
        async with stack.stream(Request.chat("m", "hi")) as stream:
            await stream.complete()

    started = asyncio.get_running_loop().time()
    await asyncio.gather(read(), read(), read())

    assert fake.max_in_flight == 1
    assert asyncio.get_running_loop().time() - started == 30


test_it_refuses_before_the_transport()
test_a_slot_is_held_until_the_stream_ends()
print("the tests pass")

print(len(check_middleware(lambda: no_shouting)), "clauses of the protocol hold for no_shouting")
print(len(check_middleware(lambda: ConcurrencyLimit(1))), "for ConcurrencyLimit")
try:
    check_middleware(lambda: leaky)
except ConformanceError as report:
    print(report)
