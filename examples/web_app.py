"""A web app (Starlette, the SDK of OpenAI) whose calls go through a stack; readers may leave in mid-stream. Offline.

python examples/web_app.py
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import openai
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

from llamina import Constant, CostMeter, Retry, Stack, Timeout, build_stack, doors
from llamina.testing import SimulatedProvider, status
from llamina.transports import HTTPTransport


def make_app(stack: Stack) -> Starlette:
    """The app as it was, but for `http_client=`; run it with any ASGI server."""
    client = openai.AsyncOpenAI(api_key="unused", http_client=doors.httpx2_async_client(stack), max_retries=0)

    async def story(request: Request) -> StreamingResponse:
        asked = [{"role": "user", "content": f"A story about {request.query_params['about']}"}]
        with doors.tags(user=request.headers.get("x-user", "anyone")):
            chunks = await client.chat.completions.create(model="small", messages=asked, stream=True)

        async def pieces() -> AsyncIterator[str]:
            async with chunks:  # left when the reader leaves: the request to the provider is closed
                async for chunk in chunks:
                    if chunk.choices and (text := chunk.choices[0].delta.content):
                        yield text

        return StreamingResponse(pieces(), media_type="text/plain")

    async def failed(_request: Request, error: Exception) -> PlainTextResponse:
        assert isinstance(error, openai.APIStatusError)
        return PlainTextResponse(error.message, status_code=error.status_code)

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        async with stack:
            yield

    return Starlette(
        routes=[Route("/story", story)], exception_handlers={openai.APIStatusError: failed}, lifespan=lifespan
    )


async def browse(app: Starlette, path: str, user: str, *, leaves_after: int = 1000) -> str:
    """What a reader sees, who leaves after some pieces; this stands in for the server, too."""
    gone = asyncio.Event()
    seen: list[str] = []

    async def receive() -> dict[str, str]:
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, object]) -> None:
        seen.append(str(message.get("status", "")) or bytes(message["body"]).decode())
        if len(seen) > leaves_after:
            gone.set()

    path, _, query = path.partition("?")
    headers = [(b"x-user", user.encode())]
    scope = {"type": "http", "method": "GET", "path": path, "query_string": query.encode(), "headers": headers}
    await app(scope, receive, send)
    return " ".join(seen)


async def main() -> None:
    script = [status(503), ["Once ", "upon ", "a time."], ["A very ", 60, "long story."], status(400, message="no")]
    meter = CostMeter(prices={"small": {"input": "1", "output": "2"}})
    async with SimulatedProvider(script) as provider:
        transport = HTTPTransport(base_url=provider.base_url, api_key="sk-real")
        stack = build_stack([Retry(attempts=3, backoff=Constant(0.01)), meter, Timeout(90, idle=75)], transport)
        app = make_app(stack)
        async with app.router.lifespan_context(app):
            print("ada reads it all  ", await browse(app, "/story?about=time", "ada"))
            print("grace leaves early", await browse(app, "/story?about=long", "grace", leaves_after=1))
            await provider.settled()
            print("a failure         ", await browse(app, "/story?about=no", "ada"))
        print(f"{len(provider.requests)} requests, {provider.aborted} of them closed before its end")
        print({user: f"{row.attempts} tries, ${row.cost}" for user, row in meter.by("user").items()})
        assert (len(provider.requests), provider.aborted, provider.in_flight) == (4, 1, 0)


asyncio.run(main())
