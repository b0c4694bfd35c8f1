"""A server of bytes on a loopback socket: what it answers is written out, also where it is no HTTP.

async with RawServer(answer("hi"), [STREAM, CUT]) as server: ...

Each request takes the next answer, the last one for ever. An answer is bytes, or a list of bytes, CUT (reset the
connection), CLOSE (end it) and WAIT (until the server closes).
"""

from __future__ import annotations

import asyncio
import json
from typing import Any, NamedTuple, Self

from llamina import LLMError, Request, Response, Stack

CUT, CLOSE, WAIT = object(), object(), object()
PROMPT = "canary-prompt"


class Seen(NamedTuple):
    """One request as it arrived."""

    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)


class RawServer:
    """Plays *answers*; `requests`, `connections` and `open` say what came."""

    def __init__(self, *answers: Any) -> None:
        self._answers = answers
        self._tasks: set[asyncio.Task[None]] = set()
        self.requests: list[Seen] = []
        self.connections = 0
        self.open = 0

    @property
    def base_url(self) -> str:
        """What a transport is given."""
        return f"http://127.0.0.1:{self.port}/v1"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=1024)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def until(self, condition: Any) -> None:
        """Wait until *condition* holds: what the other side of a socket does takes a few turns of the loop."""
        async with asyncio.timeout(10):
            while not condition():  # noqa: ASYNC110 - nobody tells when a socket closes
                await asyncio.sleep(0.001)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        self.open += 1
        try:
            while await self._answer(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self.open -= 1
            writer.transport.abort()
            self._tasks.discard(task)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        line, *lines = head.strip().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        self.requests.append(Seen(line.split(" ")[1], headers, body))
        script = self._answers[min(len(self.requests), len(self._answers)) - 1]
        for piece in script if isinstance(script, list) else [script]:
            if piece is CUT:
                writer.transport.abort()
                return False
            if piece is CLOSE:
                return False
            if piece is WAIT:
                await reader.read()  # until the client leaves
                return False
            writer.write(piece)
            await writer.drain()
        return True


def answer(text: str, *headers: str, status: str = "200 OK", **fields: Any) -> bytes:
    """A whole completion."""
    message = {"role": "assistant", "content": text}
    completion = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "sim-1",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12},
        **fields,
    }
    return plain(json.dumps(completion).encode(), "content-type: application/json", *headers, status=status)


def plain(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    """An answer with a length."""
    return head(*headers, f"content-length: {len(body)}", status=status) + body


def head(*headers: str, status: str = "200 OK") -> bytes:
    """The head of an answer."""
    return "\r\n".join([f"HTTP/1.1 {status}", *headers, "", ""]).encode("latin-1")


STREAM = head("content-type: text/event-stream", "transfer-encoding: chunked", "x-request-id: req_1")
END = b"0\r\n\r\n"


def sent(payload: Any) -> bytes:
    """One event of a stream, in a chunk of its own."""
    data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    event = b"data: " + data + b"\n\n"
    return b"%x\r\n%s\r\n" % (len(event), event)


def delta(text: str = "", finish: str | None = None) -> bytes:
    """One chunk of a streamed completion."""
    choice = {"index": 0, "delta": {"content": text} if text else {}, "finish_reason": finish}
    return sent({"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "sim-1", "choices": [choice]})


def streamed(*texts: str) -> list[Any]:
    """A whole stream."""
    return [STREAM, *[delta(text) for text in texts], delta(finish="stop"), sent(b"[DONE]"), END]


async def failure(stack: Stack, *, streams: bool = False, **params: Any) -> LLMError:
    """The error that a call ends with; of a stream, with the text that came before it as `error.came`."""
    request = Request.chat("sim", PROMPT).evolve(**params)
    came: list[str] = []
    try:
        if streams:
            async with stack.stream(request) as stream:
                async for event in stream:
                    came.append(event.text)
        else:
            await stack(request)
    except LLMError as error:
        error.came = came  # type: ignore[attr-defined]
        return error
    raise AssertionError(f"the call did not fail; {came} came")


async def complete(stack: Stack, request: Request | None = None) -> Response:
    """A streamed call, with its events left unread."""
    async with stack.stream(request or Request.chat("sim", "hi")) as stream:
        return await stream.complete()
