"""One concern of one library over an async function that does nothing, in microseconds of CPU per call.

`added` is what is above the same call of the same library without the concern, in turns with it, so that what a library
takes for any call is not laid to its retries. `made` is how often the function below was called for one call above.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, NamedTuple

from clients import asked, quiet_litellm

CROWD = 100
"""Callers who want the same at the same time."""

ROUND = 0.06
"""Seconds of CPU that a round takes, about."""

Call = Callable[[], Awaitable[Any]]
Measure = Callable[[], Awaitable[dict[str, float]]]


class Concern(NamedTuple):
    """Where it runs, and how it is entered."""

    environment: str
    enter: Callable[[], AbstractAsyncContextManager[Measure]]


class Below:
    """What is called: an answer at once, and a count."""

    def __init__(self) -> None:
        self.calls = 0

    async def __call__(self, *_: Any, **__: Any) -> str:
        self.calls += 1
        return "a short answer of a few words"


async def _many(call: Call, count: int) -> float:
    gc.collect()
    started = time.process_time()
    for _ in range(count):
        await call()
    await asyncio.sleep(0.005)  # what a library does in the background is its own
    return (time.process_time() - started) / count * 1e6


def beside(whole: Call, base: Call, below: Below) -> Measure:
    """Measure *whole* in turns with *base*."""
    count = 20

    async def measure() -> dict[str, float]:
        nonlocal count
        bare = await _many(base, count)
        below.calls = 0
        full = await _many(whole, count)
        made = below.calls / count
        count = max(20, min(5000, int(ROUND * 1e6 / max(bare, full))))
        return {"whole": full, "added": full - bare, "made": made}

    return measure


def crowded(call: Callable[[str], Awaitable[Any]], below: Below) -> Measure:
    """`whole` is the CPU of one crowd of callers, each crowd with a question of its own."""
    numbers = itertools.count()
    crowds = 2

    async def crowd() -> None:
        question = f"question {next(numbers)}"
        await asyncio.gather(*[call(question) for _ in range(CROWD)])

    async def measure() -> dict[str, float]:
        nonlocal crowds
        below.calls = 0
        full = await _many(crowd, crowds)
        made = below.calls / crowds
        crowds = max(2, min(100, int(ROUND * 1e6 / full)))
        return {"whole": full, "made": made}

    return measure


class Slow(Below):
    """Takes three turns of the loop, so that callers meet."""

    async def __call__(self, *_: Any, **__: Any) -> str:
        self.calls += 1
        for _ in range(3):
            await asyncio.sleep(0)
        return "a short answer of a few words"


# llamina.


def _ours(below: Below) -> Any:
    from llamina import Response, Usage

    answer = Response.of("a short answer of a few words", usage=Usage(10, 10), model="m")

    async def terminal(request: Any) -> Any:
        await below()
        return answer

    return terminal


def _layer(name: str) -> Callable[[], AbstractAsyncContextManager[Measure]]:
    @asynccontextmanager
    async def enter() -> AsyncIterator[Measure]:
        import llamina

        below = Below()
        request = llamina.Request.chat("m", "Why is the sky blue?")
        stack = llamina.build_stack([getattr(llamina, name)()], _ours(below))
        bare = llamina.build_stack([], _ours(below))
        yield beside(lambda: stack(request), lambda: bare(request), below)

    return enter


@asynccontextmanager
async def our_fallback() -> AsyncIterator[Measure]:
    """No layer is shipped for it: what a user writes."""
    from llamina import Request, ServerError, build_stack, middleware

    below = Below()
    second = _ours(below)

    @middleware
    async def fallback(request: Any, call_next: Any) -> Any:
        try:
            return await call_next(request)
        except ServerError:
            if not request.replayable:
                raise
            return await second(request)

    async def broken(request: Any) -> Any:
        raise ServerError("down")

    request = Request.chat("m", "Why is the sky blue?")
    stack, bare = build_stack([fallback], broken), build_stack([], second)
    yield beside(lambda: stack(request), lambda: bare(request), below)


@asynccontextmanager
async def our_flight() -> AsyncIterator[Measure]:
    """Dedup."""
    from llamina import Dedup, Request, build_stack

    below = Slow()
    stack = build_stack([Dedup()], _ours(below))
    yield crowded(lambda question: stack(Request.chat("m", question)), below)


# tenacity, stamina, aiocache.


@asynccontextmanager
async def tenacity_retry() -> AsyncIterator[Measure]:
    """Its decorator."""
    import tenacity

    below = Below()

    @tenacity.retry(
        stop=tenacity.stop_after_attempt(3),
        wait=tenacity.wait_random_exponential(max=30),
        retry=tenacity.retry_if_exception_type(ConnectionError),
    )
    async def call() -> str:
        return await below()

    yield beside(call, below, below)


@asynccontextmanager
async def stamina_retry() -> AsyncIterator[Measure]:
    """Its decorator."""
    import stamina

    below = Below()

    @stamina.retry(on=ConnectionError, attempts=3)
    async def call() -> str:
        return await below()

    yield beside(call, below, below)


@asynccontextmanager
async def aiocache_cached() -> AsyncIterator[Measure]:
    """Its decorator with the store in memory."""
    from aiocache import cached

    below = Below()

    @cached(ttl=3600)
    async def call(model: str, question: str) -> str:
        return await below(model, question)

    yield beside(lambda: call("m", "Why is the sky blue?"), below, below)


@asynccontextmanager
async def aiocache_stampede() -> AsyncIterator[Measure]:
    """Its decorator with a lock."""
    from aiocache import cached_stampede

    below = Slow()

    @cached_stampede(lease=2, ttl=3600)
    async def call(question: str) -> str:
        return await below(question)

    yield crowded(call, below)


# langchain-core.


@asynccontextmanager
async def langchain_retry() -> AsyncIterator[Measure]:
    """A runnable `with_retry`."""
    from langchain_core.runnables import RunnableLambda

    below = Below()

    async def function(question: str) -> str:
        return await below(question)

    runnable = RunnableLambda(function)
    retrying = runnable.with_retry(stop_after_attempt=3)
    yield beside(lambda: retrying.ainvoke("why?"), lambda: runnable.ainvoke("why?"), below)


@asynccontextmanager
async def langchain_fallback() -> AsyncIterator[Measure]:
    """A runnable `with_fallbacks`, the first of which fails."""
    from langchain_core.runnables import RunnableLambda

    below = Below()

    async def broken(question: str) -> str:
        raise ConnectionError("down")

    async def function(question: str) -> str:
        return await below(question)

    runnable = RunnableLambda(function)
    both = RunnableLambda(broken).with_fallbacks([runnable])
    yield beside(lambda: both.ainvoke("why?"), lambda: runnable.ainvoke("why?"), below)


def _langchain_model(below: Below, **settings: Any) -> Any:
    from langchain_core.language_models.chat_models import SimpleChatModel

    class Model(SimpleChatModel):
        @property
        def _llm_type(self) -> str:
            return "nothing"

        def _call(self, *_: Any, **__: Any) -> str:
            raise NotImplementedError

        async def _agenerate(self, *_: Any, **__: Any) -> Any:
            from langchain_core.messages import AIMessage
            from langchain_core.outputs import ChatGeneration, ChatResult

            return ChatResult(generations=[ChatGeneration(message=AIMessage(content=await below()))])

    return Model(**settings)


@asynccontextmanager
async def langchain_cache() -> AsyncIterator[Measure]:
    """A chat model with an InMemoryCache."""
    from langchain_core.caches import InMemoryCache

    below = Below()
    model, bare = _langchain_model(below, cache=InMemoryCache()), _langchain_model(below, cache=False)
    yield beside(lambda: model.ainvoke("why?"), lambda: bare.ainvoke("why?"), below)


@asynccontextmanager
async def langchain_crowd() -> AsyncIterator[Measure]:
    """A chat model with an InMemoryCache: it has nothing that joins callers."""
    from langchain_core.caches import InMemoryCache

    below = Slow()
    yield crowded(_langchain_model(below, cache=InMemoryCache()).ainvoke, below)


# pydantic-ai.


@asynccontextmanager
async def pydantic_fallback() -> AsyncIterator[Measure]:
    """A FallbackModel over two functions, the first of which fails."""
    from pydantic_ai import ModelHTTPError, ModelRequest, ModelResponse, TextPart
    from pydantic_ai.direct import model_request
    from pydantic_ai.models.fallback import FallbackModel
    from pydantic_ai.models.function import FunctionModel

    below = Below()

    async def broken(messages: Any, info: Any) -> Any:
        raise ModelHTTPError(503, "m")

    async def function(messages: Any, info: Any) -> Any:
        return ModelResponse([TextPart(await below())])

    second = FunctionModel(function)
    both = FallbackModel(FunctionModel(broken), second)
    question = [ModelRequest.user_text_prompt("why?")]
    yield beside(lambda: model_request(both, question), lambda: model_request(second, question), below)


# litellm.


def _litellm(below: Below) -> Any:
    """litellm with a provider of ours: `nothing/works` and `nothing/broken`."""
    litellm = quiet_litellm()

    class Nothing(litellm.CustomLLM):  # type: ignore[name-defined,misc]
        async def acompletion(self, *, model: str, model_response: Any, **_: Any) -> Any:
            if model == "broken":
                raise litellm.llms.custom_llm.CustomLLMError(503, "down")
            model_response.choices[0].message.content = await below()
            model_response.usage = litellm.Usage(prompt_tokens=10, completion_tokens=10, total_tokens=20)
            return model_response

    litellm.custom_provider_map = [{"provider": "nothing", "custom_handler": Nothing()}]
    litellm.utils.custom_llm_setup()
    return litellm


def _router(litellm: Any, **settings: Any) -> Any:
    models = [
        {"model_name": name, "litellm_params": {"model": f"nothing/{name}", "api_key": "sk"}}
        for name in ("works", "broken")
    ]
    return litellm.Router(model_list=models, **settings)


@asynccontextmanager
async def litellm_retry() -> AsyncIterator[Measure]:
    """Its Router with two retries, beside `acompletion`."""
    below = Below()
    litellm = _litellm(below)
    router, question = _router(litellm, num_retries=2), asked("why?")
    yield beside(
        lambda: router.acompletion(model="works", messages=question),
        lambda: litellm.acompletion(model="nothing/works", messages=question),
        below,
    )


@asynccontextmanager
async def litellm_fallback() -> AsyncIterator[Measure]:
    """Its Router with fallbacks, no cool-down, so that the first fails each time."""
    below = Below()
    litellm = _litellm(below)
    router = _router(litellm, num_retries=0, fallbacks=[{"broken": ["works"]}], disable_cooldowns=True)
    question = asked("why?")
    yield beside(
        lambda: router.acompletion(model="broken", messages=question),
        lambda: router.acompletion(model="works", messages=question),
        below,
    )


@asynccontextmanager
async def litellm_cache() -> AsyncIterator[Measure]:
    """Its cache in memory."""
    below = Below()
    litellm = _litellm(below)
    litellm.cache = litellm.Cache(type="local")
    question = asked("why?")
    yield beside(
        lambda: litellm.acompletion(model="nothing/works", messages=question, caching=True),
        lambda: litellm.acompletion(model="nothing/works", messages=question, cache={"no-cache": True}),
        below,
    )


@asynccontextmanager
async def litellm_crowd() -> AsyncIterator[Measure]:
    """Its cache in memory: it has nothing that joins callers."""
    below = Slow()
    litellm = _litellm(below)
    litellm.cache = litellm.Cache(type="local")
    yield crowded(
        lambda question: litellm.acompletion(model="nothing/works", messages=asked(question), caching=True), below
    )


CONCERNS: dict[str, Concern] = {
    "retry: llamina Retry": Concern("current", _layer("Retry")),
    "retry: stamina": Concern("current", stamina_retry),
    "retry: tenacity": Concern("current", tenacity_retry),
    "retry: langchain with_retry": Concern("current", langchain_retry),
    "retry: litellm Router": Concern("litellm", litellm_retry),
    "hit: llamina Cache": Concern("current", _layer("Cache")),
    "hit: aiocache cached": Concern("current", aiocache_cached),
    "hit: langchain InMemoryCache": Concern("current", langchain_cache),
    "hit: litellm Cache": Concern("litellm", litellm_cache),
    "fallback: llamina, a middleware by hand": Concern("current", our_fallback),
    "fallback: langchain with_fallbacks": Concern("current", langchain_fallback),
    "fallback: pydantic-ai FallbackModel": Concern("current", pydantic_fallback),
    "fallback: litellm Router": Concern("litellm", litellm_fallback),
    "crowd: llamina Dedup": Concern("current", our_flight),
    "crowd: aiocache cached_stampede": Concern("current", aiocache_stampede),
    "crowd: langchain InMemoryCache": Concern("current", langchain_crowd),
    "crowd: litellm Cache": Concern("litellm", litellm_crowd),
}
