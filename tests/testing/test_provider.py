"""The simulated provider: what it answers, how it fails, what it charges, whom it notices leaving."""

from __future__ import annotations

import asyncio
import http.client
import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

import pytest

from llamina import (
    AuthenticationError,
    ConfigurationError,
    LLMError,
    MalformedResponseError,
    Message,
    NetworkError,
    OverloadedError,
    QuotaExceededError,
    RateLimitError,
    Reasoning,
    Request,
    RequestTimeoutError,
    Response,
    ServerError,
    Stack,
    Timeout,
    ToolCallDelta,
    Usage,
    build_stack,
)
from llamina.testing import answer, simulated_time, tool_call
from llamina.testing.provider import SimulatedProvider
from llamina.testing.provider_script import (
    cut,
    drip,
    error_event,
    garbage,
    no_done,
    no_usage,
    slow_headers,
    stall,
    status,
)
from llamina.transports import HTTPTransport

ASK = Request.chat("sim", "Why is the sky blue?")  # 8 tokens: 5 for the text, 3 for the message


def client(provider: SimulatedProvider, *layers: Any) -> Stack:
    """A stack that speaks to *provider*."""
    return build_stack(list(layers), HTTPTransport(base_url=provider.base_url, api_key="sk-canary-123456"))


async def whole(stack: Stack) -> Response:
    """One call that is not streamed."""
    return await stack(ASK)


async def streamed(stack: Stack) -> Response:
    """One call that is."""
    async with stack.stream(ASK) as stream:
        return await stream.complete()


both = pytest.mark.parametrize("ask", [whole, streamed])
Ask = Callable[[Stack], Any]


def now() -> float:
    """Seconds on the loop's clock."""
    return asyncio.get_running_loop().time()


async def raw(provider: SimulatedProvider, *pieces: bytes) -> bytes:
    """What comes back on one connection for these bytes, until the provider closes it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(provider.base_url).port)
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
    answered = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answered


def posted(body: bytes, *headers: str, path: str = "/v1/chat/completions") -> bytes:
    """A request of HTTP."""
    lines = [f"POST {path} HTTP/1.1", "host: x", *headers]
    if not any("transfer-encoding" in line for line in headers):
        lines.append(f"content-length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


HI = b'{"model": "sim", "messages": [{"role": "user", "content": "hi"}]}'


@both
@simulated_time
async def test_a_script_is_played_in_order(ask: Ask) -> None:
    """Texts, answers and timelines, in the form that the client asked for."""
    script = ["one", answer("two", finish_reason="length", model="sim-large"), ["th", "ree"]]

    async with SimulatedProvider(script) as provider, client(provider) as stack:
        answers = [await ask(stack) for _ in script]

    assert [response.text for response in answers] == ["one", "two", "three"]
    assert [response.finish_reason for response in answers] == ["stop", "length", "stop"]
    assert [response.model for response in answers] == ["sim", "sim-large", "sim"]
    assert answers[0].id == "chatcmpl-sim-1"


@simulated_time
async def test_a_timeline_takes_its_time_in_either_form() -> None:
    """Streamed, the pieces come when they are due; not streamed, the whole comes after all pauses."""
    async with SimulatedProvider([[1.0, "a", 2.0, "b"]] * 2) as provider, client(provider) as stack:
        start = now()
        async with stack.stream(ASK) as stream:
            moments = [(event.text, round(now() - start)) async for event in stream]
        middle = now()
        response = await stack(ASK)

        assert moments == [("a", 1), ("b", 3)]
        assert (response.text, round(now() - middle)) == ("ab", 3)


@simulated_time
async def test_a_timeline_can_wait_for_the_test() -> None:
    """An `asyncio.Event` holds the answer back until the test sets it."""
    go = asyncio.Event()

    async with SimulatedProvider([["a", go, "b"]]) as provider, client(provider) as stack:
        call = asyncio.create_task(streamed(stack))
        await asyncio.sleep(10)
        waiting = not call.done()
        go.set()
        response = await call

    assert waiting
    assert response.text == "ab"


@simulated_time
async def test_a_client_that_reads_slowly_slows_the_provider() -> None:
    """It does not pile up what it has to say: it waits until the client has taken it."""
    pieces = ["x" * 1_000_000 for _ in range(20)]

    async with SimulatedProvider([pieces]) as provider:
        reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(provider.base_url).port, limit=1000)
        writer.write(posted(HI[:-1] + b', "stream": true}', "connection: close"))
        await asyncio.sleep(60)
        before = provider.billed.output_tokens
        data = await reader.read()
        writer.close()
        await provider.settled()

    assert before < 5_000_000 == provider.billed.output_tokens
    assert data.count(b"x") > 20_000_000


@both
@simulated_time
async def test_a_tool_call_is_answered(ask: Ask) -> None:
    """Complete, or made of pieces in a timeline."""
    pieces = [ToolCallDelta(0, '{"city": ', "call_1", "weather"), ToolCallDelta(0, '"Paris"}')]

    script = [tool_call("weather", {"city": "Paris"}), pieces]

    async with SimulatedProvider(script) as provider, client(provider) as stack:
        answers = [await ask(stack), await ask(stack)]

    for response in answers:
        assert response.tool_calls[0].arguments == {"city": "Paris"}
        assert response.finish_reason == "tool_calls"


@both
@simulated_time
async def test_a_function_sees_the_request(ask: Ask) -> None:
    """It gives the item, and may be async or raise an error."""

    async def echo(request: Request) -> Any:
        if request.messages[-1].text == "fail":
            raise RateLimitError("slow down", retry_after=3)
        return slow_headers(1, request.messages[-1].text)

    async with SimulatedProvider(echo) as provider, client(provider) as stack:
        response = await ask(stack)
        with pytest.raises(RateLimitError) as caught:
            await stack(Request.chat("sim", "fail"))

    assert response.text == "Why is the sky blue?"
    assert caught.value.retry_after == 3


@simulated_time
async def test_one_item_is_played_for_ever_and_a_list_once() -> None:
    """Beyond its end each request is told so, in words that forbid another attempt; nothing is charged for it."""
    async with SimulatedProvider("again") as for_ever, SimulatedProvider(["once"]) as once:
        async with client(for_ever) as stack:
            assert {(await stack(ASK)).text for _ in range(5)} == {"again"}
        async with client(once) as stack:
            await stack(ASK)
            with pytest.raises(ServerError, match="script exhausted: this is request 2") as caught:
                await stack(ASK)

    assert caught.value.should_retry is False
    assert (once.exhausted, for_ever.exhausted, once.billed.input_tokens) == (1, 0, 8)


@simulated_time
async def test_a_list_can_be_played_again_and_again() -> None:
    """With `repeat`."""
    async with SimulatedProvider(["a", "b"], repeat=True) as provider, client(provider) as stack:
        texts = [(await stack(ASK)).text for _ in range(5)]

    assert texts == ["a", "b", "a", "b", "a"]


@pytest.mark.parametrize(
    ("fault", "kind", "code"),
    [
        (status(503), ServerError, None),
        (status(529), OverloadedError, None),
        (status(429), RateLimitError, "rate_limit_exceeded"),
        (status(429, code="insufficient_quota"), QuotaExceededError, "insufficient_quota"),
        (status(401), AuthenticationError, "invalid_api_key"),
        (ServerError("down"), ServerError, None),
        ([1.0, status(503)], ServerError, None),
        (NetworkError("gone"), NetworkError, None),
        (cut(), NetworkError, None),
        (cut(reset=True), NetworkError, None),
        ([1.0, cut()], NetworkError, None),
        (["par", cut()], (NetworkError, MalformedResponseError), None),
        (garbage(), MalformedResponseError, None),
        (garbage("{}", content_type="application/json"), MalformedResponseError, None),
        (error_event("overloaded_error"), OverloadedError, None),
        (["par", error_event("server_error")], ServerError, None),
        (["par", OverloadedError("busy")], OverloadedError, None),
    ],
)
@both
@simulated_time
async def test_a_fault_is_what_it_says(ask: Ask, fault: Any, kind: Any, code: str | None) -> None:
    """The client sees the error that it stands for, streamed or not."""
    async with SimulatedProvider([fault]) as provider, client(provider) as stack:
        with pytest.raises(kind) as caught:
            await ask(stack)

    assert isinstance(caught.value, LLMError)
    assert code is None or caught.value.code == code
    assert len(provider.requests) == 1


@simulated_time
async def test_a_refusal_says_what_a_provider_says() -> None:
    """Status, words, headers and the wait are the script's."""
    hint = status(429, retry_after=0.05, message="calm down", type="tokens", headers={"X-Should-Retry": "true"})

    async with SimulatedProvider([hint, status(429, retry_after="soon")]) as provider, client(provider) as stack:
        with pytest.raises(RateLimitError, match="calm down") as caught:
            await stack(ASK)
        with pytest.raises(RateLimitError) as absurd:
            await stack(ASK)

    assert (caught.value.retry_after, caught.value.should_retry) == (0.05, True)
    assert caught.value.request_id == "req-sim-1"
    assert absurd.value.retry_after is None


@simulated_time
async def test_a_cut_stream_has_delivered_what_came_before() -> None:
    """Every piece that was sent arrives, then the break."""
    async with SimulatedProvider([["Hel", "lo", cut()]]) as provider, client(provider) as stack:
        seen = []
        with pytest.raises(LLMError) as caught:
            async with stack.stream(ASK) as stream:
                async for event in stream:
                    seen.append(event.text)

    assert seen == ["Hel", "lo"]
    assert caught.value.partial.text == "Hello"


@simulated_time
async def test_slow_headers_come_late_and_a_stall_never_ends() -> None:
    """Limits of the client find both; the provider sees it leave."""
    script = [slow_headers(100, "late"), ["par", stall()], stall()]

    async with SimulatedProvider(script) as provider:
        async with client(provider, Timeout(10)) as stack:
            for ask in (whole, streamed, whole):
                with pytest.raises(RequestTimeoutError):
                    await ask(stack)
        await provider.settled()

        assert (provider.aborted, provider.in_flight) == (3, 0)


@simulated_time
async def test_a_drip_arrives_byte_by_byte() -> None:
    """The whole comes in the end, after as many seconds as it has bytes; the client did not leave early."""
    async with SimulatedProvider(drip("slow", 0.01), repeat=True) as provider, client(provider) as stack:
        start = now()
        first = await stack(ASK)
        middle = now()
        second = await streamed(stack)
        await provider.settled()

        assert first.text == second.text == "slow"
        assert 2 < middle - start < 6
        assert 5 < now() - middle < 15
        assert provider.aborted == 0


@simulated_time
async def test_a_client_that_leaves_after_the_end_has_not_left_early() -> None:
    """Who has read all data of a stream may go, whatever its frame still lacks."""
    async with SimulatedProvider(drip("hi", 0.01)) as provider:
        reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(provider.base_url).port)
        writer.write(posted(HI[:-1] + b', "stream": true}'))
        await reader.readuntil(b"data: [DONE]\n\n")
        writer.close()
        await provider.settled()

    assert provider.aborted == 0


@simulated_time
async def test_usage_can_be_withheld_and_is_billed_all_the_same() -> None:
    """In both forms; the ledger then has an estimate."""
    async with SimulatedProvider(no_usage(["Hel", "lo"])) as provider, client(provider) as stack:
        answers = [await whole(stack), await streamed(stack)]

    assert [response.usage for response in answers] == [None, None]
    assert provider.billed == Usage(16, 4)
    assert [response.call.attempts[0].usage_source for response in answers] == ["estimated", "estimated"]


@simulated_time
async def test_a_stream_without_done_ends_well() -> None:
    """The mark at the end is left out, the finish reason is not."""
    async with SimulatedProvider(no_done("hi")) as provider, client(provider) as stack:
        response = await streamed(stack)
        data = await raw(provider, posted(HI[:-1] + b', "stream": true}', "connection: close"))

    assert response.finish_reason == "stop"
    assert b"[DONE]" not in data
    assert data.endswith(b"0\r\n\r\n")


@both
@simulated_time
async def test_the_bill_is_what_the_answers_said(ask: Ask) -> None:
    """Counted by the provider, or as the script says; reasoning is part of the output."""
    thoughtful = Response(Message.assistant(Reasoning("hmmm"), "yes"), None, "stop")
    script = ["Hello", answer("x", usage=Usage(100, 50, 80)), thoughtful]

    async with SimulatedProvider(script) as provider, client(provider) as stack:
        answers = [await ask(stack) for _ in script]

    assert sum([response.usage for response in answers], Usage()) == provider.billed
    assert provider.billed == Usage(116, 54, 80, 0, 1)
    assert provider.billed_cost({"sim": {"input": "1", "output": "2", "cache_read": "0"}}) == Decimal("0.000144")


@pytest.mark.parametrize(
    ("fault", "whole_output", "streamed_output", "charged"),
    [
        (status(429), 0, 0, False),
        (status(401), 0, 0, False),
        (status(503), 0, 0, False),
        (status(529), 0, 0, False),
        (status(503, billed=True), 0, 0, True),
        (status(500), 0, 0, True),
        (RateLimitError("slow"), 0, 0, False),
        (garbage(), 0, 0, True),
        (cut(), 0, 0, True),
        (["12345678", cut()], 0, 2, True),
        (["12345678", error_event()], 0, 2, True),
    ],
)
@simulated_time
async def test_a_failure_is_charged_what_was_done_for_it(
    fault: Any, whole_output: int, streamed_output: int, charged: object
) -> None:
    """Nothing for a refusal; else the input, and of the output what was sent."""
    async with SimulatedProvider([fault], repeat=True) as provider, client(provider) as stack:
        with pytest.raises(LLMError):
            await whole(stack)
        first = provider.billed
        with pytest.raises(LLMError):
            await streamed(stack)

    assert first == Usage(8 if charged else 0, whole_output)
    assert provider.billed == Usage(16 if charged else 0, whole_output + streamed_output)


@simulated_time
async def test_who_leaves_early_is_noticed_and_charged() -> None:
    """The input, and what was sent until then; also while the request is still in flight."""
    async with SimulatedProvider([["12345678", 3600.0, "never seen"]]) as provider, client(provider) as stack:
        async with stack.stream(ASK) as stream:
            async for _ in stream:
                assert provider.billed == Usage(8, 2)
                break
        await provider.settled()

    assert provider.aborted == 1
    assert provider.billed == Usage(8, 2)
    assert stream.call.usage == provider.billed


@simulated_time
async def test_requests_are_remembered_without_showing_a_secret() -> None:
    """Body, headers in lower case, path and moment; the repr shows none of the contents."""
    async with SimulatedProvider([[5.0, "a"], "b"]) as provider, client(provider) as stack:
        await stack(ASK.with_params(an_unknown_parameter={"kept": True}))
        await stack(ASK)

    first, second = provider.requests
    assert first.json["an_unknown_parameter"] == {"kept": True}
    assert first.headers["authorization"] == "Bearer sk-canary-123456"
    assert first.path == "/v1/chat/completions"
    assert round(second.started - first.started) == 5
    assert "canary" not in repr(first)
    assert "sky" not in repr(provider.requests)


@simulated_time
async def test_requests_in_flight_are_counted() -> None:
    """At this moment, and at most so far."""
    async with SimulatedProvider([[1.0, "a"]], repeat=True) as provider, client(provider) as stack:
        calls = [asyncio.create_task(stack(ASK)) for _ in range(7)]
        await asyncio.sleep(0.5)
        during = provider.in_flight
        await asyncio.gather(*calls)
        await provider.settled()

        assert (during, provider.in_flight, provider.max_in_flight) == (7, 0, 7)


@simulated_time
async def test_one_connection_serves_many_requests() -> None:
    """Kept alive, pipelined, in chunks, with bytes that arrive one by one, until the client says it is the last."""
    chunked = b"20;x=1\r\n" + HI[:32] + b"\r\n" + b"%x\r\n" % len(HI[32:]) + HI[32:] + b"\r\n0\r\ntrailer: 1\r\n\r\n"
    requests = [
        posted(HI) + posted(HI),
        *[bytes([byte]) for byte in posted(chunked, "transfer-encoding: chunked")],
        posted(HI, "Expect: 100-continue", "connection: close"),
    ]

    async with SimulatedProvider(["1", "2", "3", "4"]) as provider:
        data = await raw(provider, *requests)

    answers = data.split(b"HTTP/1.1 ")[1:]
    assert [part[:3] for part in answers] == [b"200", b"200", b"200", b"100", b"200"]
    assert [request.json for request in provider.requests] == [json.loads(HI)] * 4
    assert b'"content":"4"' in answers[-1]


@pytest.mark.parametrize(
    ("request_bytes", "code", "text"),
    [
        (posted(b"not json", "connection: close"), b"400", b"must be an object"),
        (posted(b'{"model": "m"}', "connection: close"), b"400", b"messages must be a list"),
        (posted(HI, "connection: close", path="/v1/other"), b"404", b"/v1/other"),
        (b"GET /v1/chat/completions HTTP/1.1\r\nconnection: close\r\n\r\n", b"404", b"no such path"),
        (b"no HTTP at all\r\n\r\n", b"", b""),
        (posted(b"", "transfer-encoding: chunked") + b"zz\r\n", b"", b""),
        (b"POST / HTTP/1.1\r\n" + b"x" * 70_000, b"", b""),
    ],
)
@simulated_time
async def test_what_is_no_request_takes_no_item_of_the_script(request_bytes: bytes, code: bytes, text: bytes) -> None:
    """It is refused in the words of the wire, or cut off where it is no HTTP."""
    async with SimulatedProvider(["kept"]) as provider:
        data = await raw(provider, request_bytes)
        async with client(provider) as stack:
            response = await stack(ASK)

    assert data[9:12] == code
    assert text in data
    assert response.text == "kept"


@simulated_time
async def test_leaving_the_provider_ends_what_is_open() -> None:
    """A client that waits sees its connection close, and no task is left behind."""
    async with SimulatedProvider(stall()) as provider:
        stack = client(provider)
        call = asyncio.create_task(stack(ASK))
        await asyncio.sleep(1)

    with pytest.raises(LLMError):
        await call
    await stack.aclose()
    assert (provider.in_flight, provider.aborted) == (0, 0)
    with pytest.raises(LookupError, match="not running"):
        _ = provider.base_url


@simulated_time
async def test_a_function_that_fails_is_seen_by_the_test() -> None:
    """The client sees a break; leaving the provider raises what the function raised."""

    def broken(request: Request) -> Any:
        raise ZeroDivisionError("a mistake in the test")

    with pytest.raises(ZeroDivisionError, match="a mistake in the test"):
        async with SimulatedProvider(broken) as provider, client(provider) as stack:
            with pytest.raises(LLMError):
                await stack(ASK)


def test_it_runs_on_a_thread_for_code_that_blocks() -> None:
    """`in_thread` gives the address; afterwards it has stopped and can be asked what it saw."""
    provider = SimulatedProvider(["one", ["t", "wo"]])

    with provider.in_thread() as url:
        connection = http.client.HTTPConnection(urlsplit(url).netloc)
        texts = []
        for _ in range(2):
            connection.request("POST", urlsplit(url).path + "/chat/completions", HI)
            texts.append(json.loads(connection.getresponse().read())["choices"][0]["message"]["content"])
        connection.close()

    assert texts == ["one", "two"]
    assert len(provider.requests) == 2
    with pytest.raises(LookupError):
        _ = provider.base_url


def test_a_thread_hands_on_what_went_wrong() -> None:
    """An error in the script's function is raised where the block is left."""

    def broken(request: Request) -> Any:
        raise ZeroDivisionError("a mistake in the test")

    with pytest.raises(ZeroDivisionError), SimulatedProvider(broken).in_thread() as url:
        connection = http.client.HTTPConnection(urlsplit(url).netloc)
        connection.request("POST", "/v1/chat/completions", HI)
        with pytest.raises(ConnectionError):
            connection.getresponse()
        connection.close()


@pytest.mark.parametrize(
    ("script", "named"),
    [
        ([5.0, "brackets forgotten"], r"SimulatedProvider.script\[0\] is the bare value 5.0"),
        (5.0, "SimulatedProvider.script is the bare value"),
        (None, "SimulatedProvider.script is the bare value"),
        ([["a", True]], r"SimulatedProvider.script\[0\]\[1\] is True"),
        ([["a", status(503)]], "after the answer began"),
        ([[ValueError("x")]], "no provider can say"),
        ([["a", drip("b")]], "no piece of a timeline"),
        ([no_usage(3)], "bare value"),
    ],
)
def test_a_script_that_cannot_be_played_is_refused_at_once(script: Any, named: str) -> None:
    """The message names the place and the remedy."""
    with pytest.raises(ConfigurationError, match=named):
        SimulatedProvider(script)


@simulated_time
async def test_a_body_can_end_in_good_order_before_its_time() -> None:
    """What came is no whole answer, streamed or not, though no connection broke."""
    async with SimulatedProvider([["par", cut(quietly=True)]] * 2) as provider, client(provider) as stack:
        for ask in (whole, streamed):
            with pytest.raises(MalformedResponseError):
                await ask(stack)


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: cut(reset=True, quietly=True), "got both"),
        (lambda: status(200), "300 to 599"),
        (lambda: status(True), "300 to 599"),
        (lambda: slow_headers(-1), "headers_after"),
        (lambda: drip("x", float("nan")), "seconds_per_byte"),
        (lambda: SimulatedProvider("x", wire="telegraph"), "SimulatedProvider.wire must be one of 'chat'"),
    ],
)
def test_a_wrong_setting_is_refused_at_once(make: Callable[[], Any], named: str) -> None:
    """The message names the field and the value."""
    with pytest.raises(ConfigurationError, match=named):
        make()


def test_it_is_entered_before_it_is_used_and_once_at_a_time() -> None:
    """The messages say what to do."""

    async def twice() -> None:
        async with SimulatedProvider() as provider:
            with pytest.raises(RuntimeError, match="running already"):
                await provider.__aenter__()

    with pytest.raises(LookupError, match="enter it first"):
        _ = SimulatedProvider().base_url
    asyncio.run(twice())


def test_a_model_without_a_price_is_not_free() -> None:
    """The cost of the bill cannot be said without it."""

    async def ask() -> SimulatedProvider:
        async with SimulatedProvider("hi") as provider, client(provider) as stack:
            await stack(ASK)
        return provider

    with pytest.raises(LookupError, match="'sim'"):
        asyncio.run(ask()).billed_cost({})
