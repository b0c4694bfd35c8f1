"""No key, no header and no prompt in anything that HTTPTransport raises, on every engine and for every fault."""

from __future__ import annotations

import asyncio
import json
import logging
import pickle
import traceback

import pytest
from raw_server import CUT, PROMPT, STREAM, WAIT, RawServer, answer, complete, delta, failure, plain, sent

from llamina import LLMError, build_stack
from llamina.transports import HTTPTransport

KEY = "sk-canary-0123456789"
ECHO = b'{"error": {"message": "what is sk-canary-0123456789 / canary-header?", "code": "canary-header"}}'

FAULTS = {
    "echoed": plain(ECHO, status="401 No"),
    "echoed in a 200": plain(ECHO, "content-type: application/json"),
    "echoed in a stream": [STREAM, sent(ECHO), WAIT],
    "reset": [CUT],
    "cut": [STREAM, delta("par"), CUT],
    "silent": [WAIT],
    "no HTTP": [b"sk-canary-0123456789\r\n\r\n", CUT],
    "html": plain(b"<html>sk-canary-0123456789</html>"),
    "redirect": plain(b"", "location: http://127.0.0.1:1/?key=sk-canary-0123456789", status="302 Found"),
}


def shown(error: BaseException) -> str:
    """Everything that a crash report, a log or a queue would hold of *error*."""
    report = traceback.TracebackException.from_exception(error, capture_locals=True)
    texts = ["".join(report.format()), pickle.dumps(error).decode("latin-1")]
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        seen.append(error)
        texts += [repr(error), str(error), repr(vars(error)), repr(error.args)]
        error = error.__cause__ or error.__context__
    return "\n".join(texts)


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("fault", FAULTS)
def test_no_error_shows_a_key(transport_to, fault: str, streams: bool) -> None:
    """Neither its texts nor its attributes, causes, pickle or the local variables of its traceback."""

    async def main() -> LLMError:
        async with RawServer(FAULTS[fault]) as server:
            transport = transport_to(server, headers={"x-api-key": "canary-header"})
            async with build_stack([], transport) as stack:
                deadline = asyncio.get_running_loop().time() + 0.1 if fault == "silent" else None
                return await failure(stack, streams=streams, deadline=deadline)

    error = asyncio.run(main())

    assert KEY not in shown(error)
    assert "canary-header" not in shown(error)
    assert PROMPT not in shown(error)


def test_a_key_at_the_end_of_a_long_message_is_not_cut_in_two(transport_to) -> None:
    """It is masked before the message is shortened, else the half of it that is left would be no match."""
    key = "tigerlily-tigerlily-tigerlily-tigerlily"

    async def main() -> LLMError:
        for length in (470, 480, 490):
            said = json.dumps({"error": {"message": "x" * length + key}}).encode()
            async with (
                RawServer(plain(said, status="401 No")) as server,
                build_stack([], transport_to(server, api_key=key)) as stack,
            ):
                error = await failure(stack)

            assert "tigerlily" not in shown(error)

    asyncio.run(main())


def test_a_refused_connection_shows_no_key(transport_to) -> None:
    """The query of an address is none of anybody's business either."""

    async def main() -> LLMError:
        async with build_stack([], transport_to("http://127.0.0.1:1/v1?key=canary-query")) as stack:
            return await failure(stack)

    error = asyncio.run(main())

    assert KEY not in shown(error)
    assert "canary-query" not in shown(error)


def test_no_log_shows_a_key(transport_to, caplog: pytest.LogCaptureFixture) -> None:
    """With every logger at its most talkative, those of the clients too, nobody says the key or the prompt."""

    async def main() -> None:
        async with (
            RawServer(FAULTS["echoed"], FAULTS["cut"], answer("hi")) as server,
            build_stack([], transport_to(server)) as stack,
        ):
            for streams in (False, True):
                await failure(stack, streams=streams)
            await complete(stack)

    with caplog.at_level(logging.DEBUG):
        asyncio.run(main())

    said = "\n".join(record.getMessage() for record in caplog.records)
    assert KEY not in said
    assert PROMPT not in said


def test_the_settings_of_a_transport_show_no_key() -> None:
    """What a debugger lists of the object has ids where the values are."""
    transport = HTTPTransport("http://h/v1", KEY, headers={"Authorization": "Bearer canary-header"})

    assert "canary" not in repr(vars(transport))
