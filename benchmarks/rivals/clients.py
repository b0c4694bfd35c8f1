"""Each library as its own documentation calls it: one call, one stream.

A client is entered with the address of a provider and gives `call(text)` and `stream(model)`, to be entered, an async
iterator of events. Nothing heavy is imported before it is entered, so the conductor can read the names here.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, NamedTuple

MOST = 100
"""Tokens to answer with at most."""

PATIENCE = 60.0
"""Seconds that each library waits: 512 connections at once take more than the five that some allow for one."""


class Client(NamedTuple):
    """A whole call, and the stream of a model."""

    call: Callable[[str], Awaitable[Any]]
    stream: Callable[[str], AbstractAsyncContextManager[Any]]


class Entry(NamedTuple):
    """Where a client runs, and how it is entered."""

    environment: str
    enter: Callable[[str], AbstractAsyncContextManager[Client]]


def asked(text: str) -> list[dict[str, str]]:
    """The messages of a request."""
    return [{"role": "user", "content": text}]


# Ours.


def seven(prices: Any) -> list[Any]:
    """The seven layers in the recommended order, with a logger that makes its records and drops them."""
    import llamina

    logger = logging.getLogger("llamina.rivals")
    logger.handlers, logger.propagate = [logging.NullHandler()], False
    logger.setLevel(logging.INFO)
    return [
        llamina.Logger(logger=logger),
        llamina.Cache(llamina.MemoryCache(maxsize=1000)),
        llamina.Dedup(),
        llamina.Retry(attempts=3),
        llamina.CostMeter(prices),
        llamina.CircuitBreaker(),
        llamina.Timeout(60),
    ]


def ours(transport: Callable[[str], Any], *, layers: bool) -> Callable[[str], AbstractAsyncContextManager[Client]]:
    """A transport with no layer or with seven."""

    @asynccontextmanager
    async def enter(url: str) -> AsyncIterator[Client]:
        from llamina import Request, build_stack

        stack = build_stack(seven(PRICES) if layers else [], transport(url))
        async with stack:
            yield Client(
                lambda text: stack(Request.chat("sim", text, max_tokens=MOST)),
                lambda model: stack.stream(Request.chat(model, numbered(), max_tokens=MOST)),
            )

    return enter


PRICES = {model: {"input": "0.15", "output": "0.60"} for model in ("sim", "long", "held")}
_numbers = itertools.count()


def numbered() -> str:
    """A prompt that differs from all others: no cache and no flight may answer it."""
    return f"{next(_numbers)} " + "Why is the sky blue? " * 8


def over_http(engine: str) -> Callable[[str], Any]:
    """HTTPTransport on one of its engines."""

    def build(url: str) -> Any:
        from llamina.transports import HTTPTransport

        return HTTPTransport(base_url=url, api_key="sk", engine=engine)

    return build


def over_sdk(url: str) -> Any:
    """The transport on the official SDK."""
    from llamina.transports import OpenAITransport

    return OpenAITransport("sk", url)


# The others.


@asynccontextmanager
async def openai_sdk(url: str) -> AsyncIterator[Client]:
    """The official SDK alone, its own retries off."""
    import openai

    client = openai.AsyncOpenAI(api_key="sk", base_url=url, max_retries=0, timeout=PATIENCE)
    create = client.chat.completions.create

    @asynccontextmanager
    async def stream(model: str) -> AsyncIterator[Any]:
        options: Any = {"include_usage": True}
        async with await create(
            model=model, messages=asked(numbered()), max_completion_tokens=MOST, stream=True, stream_options=options
        ) as events:
            yield events

    async with client:
        yield Client(lambda text: create(model="sim", messages=asked(text), max_completion_tokens=MOST), stream)


def quiet_litellm() -> Any:
    """litellm without telemetry, without its messages on the terminal."""
    import litellm

    litellm.telemetry = False
    litellm.suppress_debug_info = True
    logging.getLogger("LiteLLM").setLevel(logging.CRITICAL)
    logging.getLogger("LiteLLM Router").setLevel(logging.CRITICAL)
    return litellm


@asynccontextmanager
async def closing(events: Any) -> AsyncIterator[Any]:
    """An async iterator that is closed where it can be."""
    try:
        yield events
    finally:
        close = getattr(events, "aclose", None) or getattr(events, "close", None)
        if close is not None:
            await close()


@asynccontextmanager
async def litellm_acompletion(url: str) -> AsyncIterator[Client]:
    """litellm's function, which keeps its clients itself."""
    litellm = quiet_litellm()
    fields: dict[str, Any] = {
        "api_base": url,
        "api_key": "sk",
        "max_tokens": MOST,
        "num_retries": 0,
        "timeout": PATIENCE,
    }

    @asynccontextmanager
    async def stream(model: str) -> AsyncIterator[Any]:
        answer = await litellm.acompletion(
            model=f"openai/{model}",
            messages=asked(numbered()),
            stream=True,
            stream_options={"include_usage": True},
            **fields,
        )
        async with closing(answer) as events:
            yield events

    yield Client(lambda text: litellm.acompletion(model="openai/sim", messages=asked(text), **fields), stream)


@asynccontextmanager
async def litellm_router(url: str) -> AsyncIterator[Client]:
    """litellm's Router with one deployment of each model."""
    litellm = quiet_litellm()
    router = litellm.Router(
        model_list=[
            {"model_name": model, "litellm_params": {"model": f"openai/{model}", "api_base": url, "api_key": "sk"}}
            for model in ("sim", "long", "held")
        ],
        num_retries=2,
        timeout=PATIENCE,
    )

    @asynccontextmanager
    async def stream(model: str) -> AsyncIterator[Any]:
        options = {"include_usage": True}
        answer = await router.acompletion(
            model=model, messages=asked(numbered()), max_tokens=MOST, stream=True, stream_options=options
        )
        async with closing(answer) as events:
            yield events

    yield Client(lambda text: router.acompletion(model="sim", messages=asked(text), max_tokens=MOST), stream)


@asynccontextmanager
async def langchain(url: str) -> AsyncIterator[Client]:
    """langchain-openai's ChatOpenAI."""
    from langchain_openai import ChatOpenAI

    def chat(model: str) -> Any:
        return ChatOpenAI(
            model=model,
            base_url=url,
            api_key="sk",
            max_retries=0,
            timeout=PATIENCE,
            max_completion_tokens=MOST,
            stream_usage=True,
        )

    chats = {model: chat(model) for model in ("sim", "long", "held")}
    yield Client(chats["sim"].ainvoke, lambda model: closing(chats[model].astream(numbered())))


def pydantic_model(url: str, name: str, **settings: Any) -> Any:
    """A model of pydantic-ai on the SDK."""
    import openai
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    sdk = openai.AsyncOpenAI(api_key="sk", base_url=url, **settings)
    return OpenAIChatModel(name, provider=OpenAIProvider(openai_client=sdk), settings={"max_tokens": MOST})


@asynccontextmanager
async def pydantic_agent(url: str) -> AsyncIterator[Client]:
    """An agent of pydantic-ai without tools."""
    from pydantic_ai import Agent

    agents = {
        model: Agent(pydantic_model(url, model, max_retries=0, timeout=PATIENCE)) for model in ("sim", "long", "held")
    }

    @asynccontextmanager
    async def stream(model: str) -> AsyncIterator[Any]:
        async with agents[model].run_stream(numbered()) as answer:
            yield answer.stream_text(delta=True, debounce_by=None)

    yield Client(agents["sim"].run, stream)


@asynccontextmanager
async def pydantic_direct(url: str) -> AsyncIterator[Client]:
    """pydantic-ai's `direct`: a request of a model, without an agent."""
    from pydantic_ai import ModelRequest
    from pydantic_ai.direct import model_request, model_request_stream

    models = {model: pydantic_model(url, model, max_retries=0, timeout=PATIENCE) for model in ("sim", "long", "held")}
    yield Client(
        lambda text: model_request(models["sim"], [ModelRequest.user_text_prompt(text)]),
        lambda model: model_request_stream(models[model], [ModelRequest.user_text_prompt(numbered())]),
    )


@asynccontextmanager
async def any_llm_function(url: str) -> AsyncIterator[Client]:
    """any-llm's function, which builds a client for each call."""
    import any_llm

    fields: dict[str, Any] = {
        "provider": "openai",
        "api_key": "sk",
        "api_base": url,
        "max_tokens": MOST,
        "client_args": {"max_retries": 0, "timeout": PATIENCE},
    }

    @asynccontextmanager
    async def stream(model: str) -> AsyncIterator[Any]:
        answer = await any_llm.acompletion(model=model, messages=asked(numbered()), stream=True, **fields)
        async with closing(answer) as events:
            yield events

    yield Client(lambda text: any_llm.acompletion(model="sim", messages=asked(text), **fields), stream)


@asynccontextmanager
async def any_llm_kept(url: str) -> AsyncIterator[Client]:
    """any-llm with a provider object that is kept."""
    from any_llm import AnyLLM

    provider = AnyLLM.create("openai", api_key="sk", api_base=url, max_retries=0, timeout=PATIENCE)

    @asynccontextmanager
    async def stream(model: str) -> AsyncIterator[Any]:
        answer = await provider.acompletion(model=model, messages=asked(numbered()), stream=True, max_tokens=MOST)
        async with closing(answer) as events:
            yield events

    yield Client(lambda text: provider.acompletion(model="sim", messages=asked(text), max_tokens=MOST), stream)


CLIENTS: dict[str, Entry] = {
    "llamina HTTPTransport, aiohttp": Entry("current", ours(over_http("aiohttp"), layers=False)),
    "llamina HTTPTransport, aiohttp, seven layers": Entry("current", ours(over_http("aiohttp"), layers=True)),
    "llamina HTTPTransport, httpx2": Entry("current", ours(over_http("httpx2"), layers=False)),
    "llamina OpenAITransport, seven layers": Entry("current", ours(over_sdk, layers=True)),
    "openai SDK 3": Entry("current", openai_sdk),
    "openai SDK 2": Entry("litellm", openai_sdk),
    "litellm acompletion": Entry("litellm", litellm_acompletion),
    "litellm Router": Entry("litellm", litellm_router),
    "langchain-openai ChatOpenAI": Entry("current", langchain),
    "pydantic-ai Agent": Entry("current", pydantic_agent),
    "pydantic-ai direct": Entry("current", pydantic_direct),
    "any-llm acompletion": Entry("current", any_llm_function),
    "any-llm AnyLLM, kept": Entry("current", any_llm_kept),
}
