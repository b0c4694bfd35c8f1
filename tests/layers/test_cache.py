"""Cache: answer from what was answered before."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from llamina import (
    ConfigurationError,
    InvalidRequestError,
    MemoryCache,
    Message,
    Reasoning,
    Request,
    Response,
    ServerError,
    Text,
    ToolCall,
    Usage,
    build_stack,
)
from llamina.layers.cache import Cache
from llamina.testing import FakeTransport, answer, simulated_time, tool_call

ASK = Request.chat("model", "Why is the sky blue?")


@simulated_time
async def test_the_second_equal_request_is_answered_without_a_call() -> None:
    """A hit has the same answer and this request's own call, with no attempt and no cost."""
    fake = FakeTransport(["because"])
    stack = build_stack([Cache()], fake)

    first = await stack(ASK)
    again = await stack(ASK)

    assert fake.calls == 1
    assert (again.text, again.usage, again.model) == (first.text, first.usage, first.model)
    assert again.call is not first.call
    assert (again.call.attempts, again.call.cost, again.call.hits, again.call.cache) == ([], 0, 1, "hit")


@simulated_time
async def test_a_layer_above_sees_the_hit_as_part_of_its_call() -> None:
    """The answer carries the request's call already when it leaves the cache."""
    seen: list[bool] = []

    def look(call_next: Any) -> Any:
        async def handle(request: Request) -> Response:
            response: Response = await call_next(request)
            seen.append(response.call is request.call)
            return response

        return handle

    stack = build_stack([look, Cache()], FakeTransport("because"))

    await stack(ASK)
    await stack(ASK)

    assert seen == [True, True]


@simulated_time
async def test_a_miss_returns_the_very_answer_from_below() -> None:
    """What comes from below goes up as it is."""
    seen: list[Response] = []

    def keep(call_next: Any) -> Any:
        async def handle(request: Request) -> Response:
            seen.append(await call_next(request))
            return seen[-1]

        return handle

    response = await build_stack([Cache(), keep], FakeTransport("because"))(ASK)

    assert response is seen[0]


@simulated_time
async def test_everything_in_an_answer_survives() -> None:
    """Parts of all kinds, raw slots, usage, reasons and unknown fields come back as they were stored."""
    full = Response(
        Message(
            "assistant", (Reasoning("hm", {"signature": "s"}), Text("yes"), ToolCall("c", "f", '{"a": 1}', {"x": [1]}))
        ),
        Usage(10, 20, 3, 4, 5, raw={"own": 1}),
        "tool_calls",
        "model",
        "id",
        "tool_use",
        "request id",
        {"unknown": {"deep": [1, None, 2.5]}},
    )
    stack = build_stack([Cache()], FakeTransport([full]))
    await stack(ASK)

    hit = await stack(ASK)

    assert hit.evolve(call=None).__struct_fields__ == full.__struct_fields__
    assert all(getattr(hit, name) == getattr(full, name) for name in full.__struct_fields__ if name != "_call")


@simulated_time
async def test_rate_limits_of_that_moment_are_not_kept() -> None:
    """What a provider said of its limits an hour ago must steer nobody."""
    stack = build_stack([Cache()], FakeTransport([answer("x", rate_limit={"remaining": 3})]))
    first = await stack(ASK)

    hit = await stack(ASK)

    assert first.rate_limit == {"remaining": 3}
    assert hit.rate_limit is None


@simulated_time
async def test_a_caller_cannot_corrupt_what_is_stored() -> None:
    """Each hit is a value of its own: changing what can be changed in one changes no other."""
    stack = build_stack([Cache()], FakeTransport([answer("x", extra={"list": [1]})]))
    first = await stack(ASK)
    first.extra["list"].append("corrupted")

    hit = await stack(ASK)
    hit.extra["list"].append("corrupted too")  # type: ignore[index]

    assert (await stack(ASK)).extra == {"list": [1]}


@simulated_time
async def test_a_streamed_answer_is_stored_when_it_is_complete_and_a_hit_is_played_as_events() -> None:
    """Streamed or not is one: what was streamed answers a plain call, and what was plain is streamed."""
    fake = FakeTransport([["be", 1.0, "cause"]])
    stack = build_stack([Cache()], fake)
    async with stack.stream(ASK) as stream:
        first = [event.text async for event in stream]

    async with stack.stream(ASK) as stream:
        hit = [event.text async for event in stream]

    assert fake.calls == 1
    assert (first, "".join(hit)) == (["be", "cause"], "because")
    assert (await stack(ASK)).text == "because"
    assert stream.response.call.cached


@simulated_time
async def test_a_stream_that_was_left_early_is_not_stored() -> None:
    """An answer that nobody has seen whole is none."""
    fake = FakeTransport([["be", 1.0, "cause"], "complete"])
    stack = build_stack([Cache()], fake)
    async with stack.stream(ASK) as stream:
        async for _ in stream:
            break

    assert (await stack(ASK)).text == "complete"


@simulated_time
async def test_errors_are_not_stored() -> None:
    """The next request asks again, also after a stream that was cut."""
    stack = build_stack([Cache()], FakeTransport([ServerError("down"), ["par", ServerError("cut")], "fine"]))

    for _ in range(2):
        with pytest.raises(ServerError):
            await stack(ASK)

    assert (await stack(ASK)).text == "fine"


@pytest.mark.parametrize("reason", ["length", "content_filter", "other", "error", None])
@simulated_time
async def test_an_answer_that_did_not_end_by_itself_is_not_stored(reason: str | None) -> None:
    """Cut, filtered, failed, or of unknown end: the next request asks again."""
    fake = FakeTransport([answer("half", finish_reason=reason), "whole"])  # type: ignore[arg-type]
    stack = build_stack([Cache()], fake)

    texts = [(await stack(ASK)).text, (await stack(ASK)).text]

    assert texts == ["half", "whole"]


@pytest.mark.parametrize("reason", ["length", "content_filter"])
@simulated_time
async def test_incomplete_answers_are_stored_by_those_who_want_them(reason: str) -> None:
    """`store_incomplete=True` keeps what was cut or filtered."""
    fake = FakeTransport([answer("half", finish_reason=reason)])
    stack = build_stack([Cache(store_incomplete=True)], fake)
    await stack(ASK)

    assert (await stack(ASK)).text == "half"


@simulated_time
async def test_calls_of_tools_are_stored() -> None:
    """An answer that asks for a tool is complete."""
    stack = build_stack([Cache()], FakeTransport([tool_call("weather", {"city": "Paris"})]))
    await stack(ASK)

    assert (await stack(ASK)).tool_calls[0].arguments == {"city": "Paris"}


@simulated_time
async def test_a_fallbacks_answer_is_not_stored_under_the_model_that_was_asked() -> None:
    """When another model answered, the next request asks the wanted one again."""
    fake = FakeTransport([ServerError("down"), "from the substitute", "from the model"])

    def fall_back(call_next: Any) -> Any:
        async def handle(request: Request) -> Response:
            try:
                return await call_next(request)
            except ServerError:
                return await call_next(request.evolve(model="substitute"))

        return handle

    stack = build_stack([Cache(), fall_back], fake)

    texts = [(await stack(ASK)).text for _ in range(3)]

    assert texts == ["from the substitute", "from the model", "from the model"]


@simulated_time
async def test_a_layers_own_answer_is_not_stored() -> None:
    """What a layer says in place of a provider (an apology, a refusal) is not the model's answer."""

    def apologise(call_next: Any) -> Any:
        async def handle(request: Request) -> Response:
            try:
                return await call_next(request)
            except ServerError:
                return Response.of("sorry")

        return handle

    stack = build_stack([Cache(), apologise], FakeTransport([ServerError("down"), "answer"]))

    texts = [(await stack(ASK)).text for _ in range(3)]

    assert texts == ["sorry", "answer", "answer"]


@simulated_time
async def test_an_answer_after_retries_is_stored() -> None:
    """Failed tries of the wanted model do not matter."""
    fake = FakeTransport([ServerError("down"), "answer"])

    def again(call_next: Any) -> Any:
        async def handle(request: Request) -> Response:
            try:
                return await call_next(request)
            except ServerError:
                return await call_next(request)

        return handle

    stack = build_stack([Cache(), again], fake)
    await stack(ASK)

    assert (await stack(ASK)).call.cached


@simulated_time
async def test_a_second_cache_below_fills_the_first() -> None:
    """Memory in front of a file: what only the lower one has is found, then kept above."""
    lower = MemoryCache()
    await build_stack([Cache(lower)], FakeTransport(["answer"]))(ASK)
    upper, below = Cache(), Cache(lower)
    stack = build_stack([upper, below], FakeTransport([]))

    first, again = await stack(ASK), await stack(ASK)

    assert first.call.cached
    assert again.call.cached
    assert (upper.stats()["cache.hits"], below.stats()["cache.hits"]) == (1, 1)


@simulated_time
async def test_no_cache_asks_afresh_and_keeps_the_new_answer() -> None:
    """One request can refuse what is stored, and renews it."""
    stack = build_stack([Cache()], FakeTransport(["old", "new"]))
    await stack(ASK)

    afresh = await stack(ASK.with_cache(no_cache=True))

    assert afresh.text == "new"
    assert (await stack(ASK)).text == "new"


@simulated_time
async def test_no_store_keeps_nothing() -> None:
    """One request can forbid that its answer is kept; it may still be answered from the store."""
    stack = build_stack([Cache()], FakeTransport(["private", "public"]))
    private = ASK.with_cache(no_store=True)

    texts = [(await stack(request)).text for request in (private, ASK, private)]

    assert texts == ["private", "public", "public"]


@simulated_time
async def test_ttl_is_the_layers_or_the_requests_own() -> None:
    """An answer is fresh for the layer's seconds, unless its request said otherwise."""
    fake = FakeTransport("answer")
    stack = build_stack([Cache(ttl=60)], fake)
    short = Request.chat("model", "short-lived").with_cache(ttl=5)
    await stack(ASK)
    await stack(short)

    await asyncio.sleep(10)
    cached = [(await stack(ASK)).call.cached, (await stack(short)).call.cached]
    await asyncio.sleep(55)

    assert cached == [True, False]
    assert not (await stack(ASK)).call.cached


@simulated_time
async def test_tenants_never_share_an_answer() -> None:
    """The tag tenant always keeps apart, and so does having none."""
    fake = FakeTransport("answer")
    stack = build_stack([Cache()], fake)
    tags: list[dict[str, str]] = [{"tenant": "a"}, {"tenant": "b"}, {"tenant": ""}, {}, {"user": "ada"}]

    cached = [(await stack(ASK.evolve(tags=each))).call.cached for each in tags]

    assert cached == [False, False, False, False, True]


@simulated_time
async def test_a_scope_cannot_be_imitated_by_other_values() -> None:
    """Names and values of tags are kept apart, however they are put together."""
    store = MemoryCache()
    fake = FakeTransport("answer")
    by_user = build_stack([Cache(store, scope=("user",))], fake)
    by_both = build_stack([Cache(store, scope=("user", "project"))], fake)
    by_project = build_stack([Cache(store, scope=("project",))], fake)

    for tags in ({"user": "a", "tenant": "b"}, {"user": "b", "tenant": "a"}, {"user": "ab"}, {"tenant": "ab"}):
        await by_user(ASK.evolve(tags=tags))
    await by_both(ASK.evolve(tags={"user": "ab"}))
    await by_project(ASK.evolve(tags={"project": "ab"}))

    assert fake.calls == 6


@simulated_time
async def test_a_store_sees_no_words_of_a_caller() -> None:
    """A key is a digest, whatever the tags say, behind the namespace."""
    keys: list[str] = []

    class Watched(MemoryCache):
        async def set(self, key: str, value: bytes, /, *, ttl: float | None = None, stale: float = 0.0) -> None:
            keys.append(key)
            await super().set(key, value, ttl=ttl, stale=stale)

    stack = build_stack([Cache(Watched(), namespace="app", scope="user")], FakeTransport("answer"))

    await stack(ASK.evolve(tags={"user": "ada@example.org"}))
    await stack(ASK)

    assert all(key.startswith("app:") and len(key) == 4 + 64 for key in keys)
    assert len(set(keys)) == 2


@simulated_time
async def test_namespaces_keep_apart_what_shares_a_store() -> None:
    """The same request through another provider is another answer."""
    store = MemoryCache()
    one = build_stack([Cache(store, namespace="one")], FakeTransport("one"))
    other = build_stack([Cache(store, namespace="other")], FakeTransport("other"))

    texts = [(await stack(ASK)).text for stack in (one, other, one)]

    assert texts == ["one", "other", "one"]


@simulated_time
async def test_only_deterministic_passes_creative_requests_by() -> None:
    """Then only a temperature of 0 or a seed is answered from the store."""
    fake = FakeTransport("answer")
    stack = build_stack([Cache(only_deterministic=True)], fake)
    kinds: list[dict[str, Any]] = [{}, {"temperature": 0.7}, {"temperature": 0}, {"seed": 7}, {"seed": None}]

    cached = []
    for params in kinds:
        await stack(ASK.with_params(**params))
        cached.append((await stack(ASK.with_params(**params))).call.cached)

    assert cached == [False, False, True, True, False]


@simulated_time
async def test_what_leaves_something_behind_is_never_answered_from_the_store() -> None:
    """A request that the provider is to keep is done every time; `side_effects` says what else is."""
    fake = FakeTransport("answer")
    stack = build_stack([Cache()], fake)
    own_rule = build_stack([Cache(side_effects=lambda request: "tools" in request.params)], fake)

    for _ in range(2):
        await stack(ASK.with_params(store=True))
        await stack(ASK.with_params(background=True))
        await own_rule(ASK.with_params(tools=[]))

    assert fake.calls == 6


@simulated_time
async def test_a_request_without_identity_is_refused() -> None:
    """A NaN equals nothing and no provider takes it."""
    stack = build_stack([Cache()], FakeTransport("x"))

    with pytest.raises(InvalidRequestError, match="nan"):
        await stack(ASK.with_params(temperature=float("nan")))


@simulated_time
async def test_stats_count_what_it_does() -> None:
    """Hits, misses, stores, and what it did not look up."""
    cache = Cache()
    stack = build_stack([cache], FakeTransport("answer"))

    for request in (ASK, ASK, ASK.with_cache(no_cache=True), ASK.with_params(store=True)):
        await stack(request)

    stats = cache.stats()
    counted = {name: stats[f"cache.{name}"] for name in ("hits", "misses", "stale", "stores", "skipped", "errors")}
    assert counted == {"hits": 1, "misses": 1, "stale": 0, "stores": 2, "skipped": 2, "errors": 0}


@simulated_time
async def test_closing_the_stack_closes_the_store() -> None:
    """A file or a connection is let go when the stack is left."""
    closed: list[str] = []

    class Closing(MemoryCache):
        async def aclose(self) -> None:
            closed.append("store")

    async with build_stack([Cache(Closing())], FakeTransport("x")) as stack:
        await stack(ASK)

    assert closed == ["store"]


@simulated_time
async def test_one_cache_in_two_stacks_is_shared_and_two_caches_are_not() -> None:
    """State belongs to the layer object."""
    cache = Cache()
    one, two = (build_stack([cache], FakeTransport([text])) for text in ("one", "two"))
    apart = build_stack([Cache()], FakeTransport(["apart"]))

    texts = [(await stack(ASK)).text for stack in (one, two, apart)]

    assert texts == ["one", "one", "apart"]


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"store": MemoryCache}, r"Cache\.store .* write Cache\(MemoryCache"),
        ({"store": {}}, r"Cache\.store .* \{\}"),
        ({"ttl": 0}, r"Cache\.ttl .* 0"),
        ({"ttl": float("inf")}, r"Cache\.ttl .* inf"),
        ({"scope": 3}, r"Cache\.scope .* 3"),
        ({"stale_while_revalidate": -1}, r"Cache\.stale_while_revalidate .* -1"),
        ({"stale_while_revalidate": 60}, r"Cache\.stale_while_revalidate .* ttl"),
        ({"namespace": "a:b"}, r"Cache\.namespace .* 'a:b'"),
        ({"store_timeout": 0}, r"Cache\.store_timeout .* 0"),
        ({"store_rest": float("nan")}, r"Cache\.store_rest .* nan"),
    ],
)
def test_a_wrong_setting_is_refused_when_it_is_built(settings: dict[str, Any], names: str) -> None:
    """The error names the field and the value."""
    with pytest.raises(ConfigurationError, match=names):
        Cache(**settings)
