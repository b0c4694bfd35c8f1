"""What each library does, as counts of runs against a simulated provider in the same process.

Every library is set up as its documentation says, with two retries where it has a setting for them. None is a library
that has no such thing: it is no fault, and the page writes a dash.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from clients import PRICES, asked, closing, pydantic_model, quiet_litellm

from llamina.testing import SimulatedProvider, status

CROWD = 5
PIECES, READ = 20, 5
QUESTION = "Why is the sky blue?"
Value = str | int | None


def script(request: Any) -> Any:
    """What the provider does, by the name of the model."""
    if request.model == "limited":
        return status(429)
    if request.model == "spent":
        return status(429, code="insufficient_quota")
    if request.model == "held":
        return [*[f"word{number} " for number in range(PIECES)], asyncio.Event()]
    if request.model == "brief":
        return ["two ", "words"]
    return [0.2, "a short answer of a few words"]


class Library:
    """What is asked of each; a library says what it has."""

    async def refused(self, url: str, model: str, *, retries: int | None) -> Any:
        """One call that is refused each time, with so many *retries* asked for; None: as it comes."""
        raise NotImplementedError

    async def cached(self, url: str) -> Callable[..., Awaitable[Any]] | None:
        """A call with its cache on: a question and further parameters of the request."""
        return None

    extras: tuple[str, ...] = ("extra_body", "seed")
    """The ways to say a further parameter that it takes; `extra_body` holds one that OpenAI does not know, `top_k`."""

    async def recorded(self, url: str, model: str) -> tuple[int, int] | None:
        """Tokens that it recorded for a stream that is left after some pieces; None: it has no such account."""
        return None

    # The facts.

    async def find(self, name: str) -> dict[str, Value]:
        """The value of a fact."""
        async with SimulatedProvider(script) as provider:
            return {"value": await asyncio.wait_for(getattr(self, name)(provider), 60)}

    async def default(self, provider: SimulatedProvider) -> Value:
        """HTTP requests under a persistent 429 as it comes."""
        return await self._count(provider, "limited", None)

    async def two_retries(self, provider: SimulatedProvider) -> Value:
        """The same with two retries asked for: three are meant."""
        return await self._count(provider, "limited", 2)

    async def quota(self, provider: SimulatedProvider) -> Value:
        """HTTP requests when the quota is used up, which no retry mends; two retries asked for."""
        return await self._count(provider, "spent", 2)

    async def _count(self, provider: SimulatedProvider, model: str, retries: int | None) -> Value:
        try:
            if await self.refused(provider.base_url, model, retries=retries) is NotImplemented:
                return None
        except NotImplementedError:
            return None
        except Exception:
            return len(provider.requests)
        raise RuntimeError("the call did not fail")

    async def crowd(self, provider: SimulatedProvider) -> Value:
        """Calls made for five callers who want the same at once, the cache on."""
        call = await self.cached(provider.base_url)
        if call is None:
            return None
        await asyncio.gather(*[call("all at once") for _ in range(CROWD)])
        return len(provider.requests)

    async def shared(self, provider: SimulatedProvider) -> Value:
        """Parameters in which two requests may differ and yet get one answer."""
        call = await self.cached(provider.base_url)
        if call is None:
            return None
        found = []
        for name in self.extras:
            made = []
            for value in (5, 50, 50):
                came = len(provider.requests)
                await call(f"with {name}", **{name: {"top_k": value} if name == "extra_body" else value})
                await asyncio.sleep(0.3)  # some store in the background
                made.append(len(provider.requests) - came)
            if made[0] != 1 or ":5" not in provider.requests[-sum(made)].body.decode().replace(" ", ""):
                raise RuntimeError(f"{name} did not reach the provider")
            if made[2]:
                raise RuntimeError("the cache is not on")
            if not made[1]:
                found.append(name)
        return ", ".join(found) or "none"

    async def aborted(self, provider: SimulatedProvider) -> Value:
        """Tokens recorded of those that were billed for a stream that is left."""
        whole = await self.recorded(provider.base_url, "brief")
        if whole is None:
            return None
        before = provider.billed
        if whole != (before.input_tokens, before.output_tokens):
            raise RuntimeError(f"{whole} recorded of a stream that was read to its end, billed {before}")
        found = await self.recorded(provider.base_url, "held")
        await provider.settled()
        billed = provider.bills[-1][1]
        seen = f"{found[0]} + {found[1]}" if found and any(found) else "nothing"
        return f"{seen} of {billed.input_tokens} + {billed.output_tokens}"


async def read(model: str, events: Any) -> None:
    """Read a few pieces of "held" and leave; all of the others."""
    seen = 0
    async with closing(events) as stream:
        async for _ in stream:
            seen += 1
            if seen >= READ and model == "held":
                return


class Llamina(Library):
    """Cache, Dedup, Retry and CostMeter over HTTPTransport."""

    @asynccontextmanager
    async def stack(self, url: str, layers: list[Any]) -> AsyncIterator[Any]:
        from llamina import build_stack
        from llamina.transports import HTTPTransport

        async with build_stack(layers, HTTPTransport(base_url=url, api_key="sk")) as stack:
            yield stack

    async def refused(self, url: str, model: str, *, retries: int | None) -> Any:
        from llamina import Request, Retry

        layers = [] if retries is None else [Retry(attempts=retries + 1)]
        async with self.stack(url, layers) as stack:
            await stack(Request.chat(model, QUESTION))

    async def cached(self, url: str) -> Any:
        from llamina import Cache, Dedup, Request, build_stack
        from llamina.transports import HTTPTransport

        stack = build_stack([Cache(), Dedup()], HTTPTransport(base_url=url, api_key="sk"))
        return lambda question, **further: stack(Request.chat("sim", question, **further))

    extras = ("top_k", "seed")

    async def recorded(self, url: str, model: str) -> Any:
        from llamina import CostMeter, Request

        async with self.stack(url, [CostMeter({model: PRICES["sim"]})]) as stack:
            seen = 0
            async with stack.stream(Request.chat(model, QUESTION)) as stream:
                async for event in stream:
                    seen += bool(event.text)
                    if seen >= READ and model == "held":
                        break
            usage = stream.call.attempts[0].usage
            return usage.input_tokens, usage.output_tokens


def sdk(url: str, **settings: Any) -> Any:
    """The official SDK."""
    import openai

    return openai.AsyncOpenAI(api_key="sk", base_url=url, **settings)


def given(retries: int | None) -> dict[str, Any]:
    """The SDK's own setting."""
    return {} if retries is None else {"max_retries": retries}


class OpenAISDK(Library):
    """The SDK alone."""

    async def refused(self, url: str, model: str, *, retries: int | None) -> Any:
        await sdk(url, **given(retries)).chat.completions.create(model=model, messages=asked(QUESTION))


class OpenAISDK2(OpenAISDK):
    """The same, before it."""


class Tenacity(Library):
    """Three attempts round the SDK, which has its own settings as they come."""

    async def refused(self, url: str, model: str, *, retries: int | None) -> Any:
        import openai
        import tenacity

        if retries is None:
            return NotImplemented
        client = sdk(url)

        @tenacity.retry(
            stop=tenacity.stop_after_attempt(retries + 1),
            wait=tenacity.wait_random_exponential(max=1),
            retry=tenacity.retry_if_exception_type(openai.RateLimitError),
            reraise=True,
        )
        async def call() -> Any:
            return await client.chat.completions.create(model=model, messages=asked(QUESTION))

        return await call()


class Stamina(Library):
    """The same with stamina."""

    async def refused(self, url: str, model: str, *, retries: int | None) -> Any:
        import openai
        import stamina

        if retries is None:
            return NotImplemented
        client = sdk(url)

        @stamina.retry(on=openai.RateLimitError, wait_max=1.0, attempts=retries + 1)
        async def call() -> Any:
            return await client.chat.completions.create(model=model, messages=asked(QUESTION))

        return await call()


class Aiocache(Library):
    """`cached` round a function that calls the SDK."""

    decorator = "cached"

    async def cached(self, url: str) -> Any:
        import aiocache

        client = sdk(url)

        @getattr(aiocache, self.decorator)(ttl=3600)
        async def call(model: str, question: str, **further: Any) -> Any:
            answer = await client.chat.completions.create(model=model, messages=asked(question), **further)
            return answer.choices[0].message.content

        return lambda question, **further: call("sim", question, **further)


class AiocacheStampede(Aiocache):
    """`cached_stampede`."""

    decorator = "cached_stampede"


class Litellm(Library):
    """Its function."""

    extras = ("extra_body", "top_k", "seed")

    async def call(self, url: str, model: str, question: str = QUESTION, **further: Any) -> Any:
        litellm = quiet_litellm()
        return await litellm.acompletion(
            model=f"openai/{model}", api_base=url, api_key="sk", messages=asked(question), **further
        )

    async def refused(self, url: str, model: str, *, retries: int | None) -> Any:
        return await self.call(url, model, **({} if retries is None else {"num_retries": retries}))

    async def cached(self, url: str) -> Any:
        litellm = quiet_litellm()
        litellm.cache = litellm.Cache(type="local")
        return lambda question, **further: self.call(url, "sim", question, **further)

    async def recorded(self, url: str, model: str) -> Any:
        litellm = quiet_litellm()
        from litellm.integrations.custom_logger import CustomLogger

        seen: list[tuple[int, int]] = []

        class Logged(CustomLogger):
            async def async_log_success_event(
                self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any
            ) -> None:
                usage = response_obj.usage
                seen.append((usage.prompt_tokens, usage.completion_tokens))

            async def async_log_failure_event(
                self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any
            ) -> None:
                payload = kwargs.get("standard_logging_object") or {}
                seen.append((payload.get("prompt_tokens", 0), payload.get("completion_tokens", 0)))

        litellm.callbacks = [Logged()]
        await read(model, await self.call(url, model, stream=True, stream_options={"include_usage": True}))
        await asyncio.sleep(1)
        return sum(each[0] for each in seen), sum(each[1] for each in seen)


class LitellmRouter(Litellm):
    """Its Router with one deployment."""

    async def call(self, url: str, model: str, question: str = QUESTION, **further: Any) -> Any:
        litellm = quiet_litellm()
        deployment = {"model": f"openai/{model}", "api_base": url, "api_key": "sk"}
        settings = {"num_retries": further.pop("num_retries")} if "num_retries" in further else {}
        router = litellm.Router(model_list=[{"model_name": model, "litellm_params": deployment}], **settings)
        return await router.acompletion(model=model, messages=asked(question), **further)

    async def cached(self, url: str) -> Any:
        litellm = quiet_litellm()
        litellm.cache = None  # the Router builds one
        deployment = {"model": "openai/sim", "api_base": url, "api_key": "sk"}
        models = [{"model_name": "sim", "litellm_params": deployment}]
        router = litellm.Router(model_list=models, cache_responses=True)
        return lambda question, **further: router.acompletion(model="sim", messages=asked(question), **further)


class Langchain(Library):
    """ChatOpenAI."""

    def chat(self, url: str, model: str, **settings: Any) -> Any:
        from langchain_openai import ChatOpenAI

        return ChatOpenAI(model=model, base_url=url, api_key="sk", **settings)

    async def refused(self, url: str, model: str, *, retries: int | None) -> Any:
        await self.chat(url, model, **given(retries)).ainvoke(QUESTION)

    async def cached(self, url: str) -> Any:
        from langchain_core.caches import InMemoryCache

        cache = InMemoryCache()
        kept = self.chat(url, "sim", cache=cache)

        async def call(question: str, **further: Any) -> Any:
            if "top_k" in further:  # the SDK has no such parameter: it is given to the model when that is built
                return await self.chat(url, "sim", cache=cache, extra_body=further).ainvoke(question)
            return await kept.ainvoke(question, **further)

        return call

    extras = ("extra_body", "top_k", "seed")

    async def recorded(self, url: str, model: str) -> Any:
        from langchain_core.callbacks import UsageMetadataCallbackHandler

        usage = UsageMetadataCallbackHandler()
        await read(model, self.chat(url, model, stream_usage=True).astream(QUESTION, config={"callbacks": [usage]}))
        await asyncio.sleep(0.2)
        found = usage.usage_metadata.values()
        return sum(each["input_tokens"] for each in found), sum(each["output_tokens"] for each in found)


class LangchainRetry(Langchain):
    """`with_retry` round a model with its own settings as they come."""

    async def refused(self, url: str, model: str, *, retries: int | None) -> Any:
        attempts = {} if retries is None else {"stop_after_attempt": retries + 1}
        runnable = self.chat(url, model).with_retry(
            exponential_jitter_params={"initial": 0.1, "max": 1.0, "jitter": 0.1}, **attempts
        )
        await runnable.ainvoke(QUESTION)

    async def cached(self, url: str) -> Any:
        return None

    async def recorded(self, url: str, model: str) -> Any:
        return None


class PydanticAI(Library):
    """An Agent."""

    async def refused(self, url: str, model: str, *, retries: int | None) -> Any:
        from pydantic_ai import Agent

        await Agent(pydantic_model(url, model, **given(retries))).run(QUESTION)

    async def recorded(self, url: str, model: str) -> Any:
        from pydantic_ai import Agent
        from pydantic_ai.usage import RunUsage

        usage = RunUsage()
        async with Agent(pydantic_model(url, model)).run_stream(QUESTION, usage=usage) as answer:
            await read(model, answer.stream_text(delta=True, debounce_by=None))
        found = max((usage, answer.usage), key=lambda each: each.total_tokens)
        return found.input_tokens, found.output_tokens


class AnyLLM(Library):
    """Its function."""

    async def refused(self, url: str, model: str, *, retries: int | None) -> Any:
        import any_llm

        await any_llm.acompletion(
            model=model,
            provider="openai",
            messages=asked(QUESTION),
            api_key="sk",
            api_base=url,
            client_args=given(retries),
        )


FACTS: dict[str, Library] = {
    "llamina": Llamina(),
    "openai SDK 3": OpenAISDK(),
    "openai SDK 2": OpenAISDK2(),
    "tenacity over the SDK": Tenacity(),
    "stamina over the SDK": Stamina(),
    "aiocache cached": Aiocache(),
    "aiocache cached_stampede": AiocacheStampede(),
    "litellm acompletion": Litellm(),
    "litellm Router": LitellmRouter(),
    "langchain ChatOpenAI": Langchain(),
    "langchain with_retry": LangchainRetry(),
    "pydantic-ai Agent": PydanticAI(),
    "any-llm acompletion": AnyLLM(),
}
