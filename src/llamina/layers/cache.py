"""Answer from what was answered before.

    Cache()                                                 # in memory, 10,000 answers, until they are evicted
    Cache(SQLiteCache("answers.db"), ttl=7 * 86_400)        # in a file, for a week
    Cache(ttl=300, stale_while_revalidate=3600)             # then for an hour: at once, and renewed in the background

Streamed or not is one and the same: a streamed answer is stored once it is complete, and a hit is played as events to a
caller who streams. A hit costs nothing: it carries the caller's own call, with no attempt in it. One request can say
otherwise: `request.with_cache(no_cache=True)` asks afresh, `no_store=True` keeps nothing, `ttl=60` keeps it for a minute.

Never stored: failures, answers that did not end by themselves (`length`, `content_filter`, no finish reason), answers
of another model than the one that was asked for, and what leaves something behind at the provider. A store that fails
or hangs is a miss and a warning.

The one surprise: everybody who puts a Cache into a stack wants caching, so every request is cached, creative ones too.
`only_deterministic=True` keeps to those with `temperature=0` or a `seed`.
"""

from __future__ import annotations

import asyncio
import hashlib
from asyncio import get_running_loop
from collections.abc import Awaitable, Callable
from contextvars import Context
from typing import Any, ClassVar

import msgspec
from attrs import field, frozen
from msgspec.structs import force_setattr, replace

from llamina.call import Call, Ledger
from llamina.errors import ConfigurationError
from llamina.layer import Layer
from llamina.policy._validate import non_negative, optional, positive
from llamina.protocol import CacheControl, Handler, Request, Response
from llamina.stores.base import Entry, Store
from llamina.stores.memory import MemoryCache

from ._sharing import leaves_traces, scope_names, sharing_key
from ._shelf import Shelf

__all__ = ["Cache"]

_DRAIN = 5.0
"""Seconds that closing waits for answers that are being renewed."""

SCHEMA = 1
"""Version of what is stored; a value of another version is a miss."""

_COMPLETE = frozenset({"stop", "tool_calls"})
_INCOMPLETE = frozenset({"length", "content_filter", "other"})


class _Stored(msgspec.Struct, array_like=True):
    schema: int
    answer: Response


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Stored).decode


def _scope(value: Any) -> tuple[str, ...]:
    return scope_names("Cache", value)


def _store(_layer: Any, _field: Any, value: Any) -> None:
    if isinstance(value, type) or not all(callable(getattr(value, name, None)) for name in ("get", "set", "delete")):
        raise ConfigurationError(
            f"Cache.store must be a store, got {value!r}; write Cache(MemoryCache(...)) or Cache(SQLiteCache(path))"
        )


def _namespace(_layer: Any, _field: Any, value: Any) -> None:
    if not isinstance(value, str) or ":" in value:
        raise ConfigurationError(f'Cache.namespace must be a text without ":", got {value!r}; write namespace="myapp"')


class _Counts:
    __slots__ = ("hits", "misses", "refresh_failures", "skipped", "stale", "stores")

    def __init__(self) -> None:
        self.hits = self.misses = self.stale = self.stores = self.skipped = self.refresh_failures = 0


@frozen(eq=False, slots=False, repr=False)
class Cache(Layer):
    """Keep complete answers in *store* and give them to who asks the same.

    Args:
        store: where answers are kept; a `MemoryCache` of its own by default.
        ttl: seconds for which an answer is fresh; None for what the store does by default.
        scope: names of tags that keep callers apart, besides `tenant`, which always does.
        stale_while_revalidate: seconds after *ttl* in which the old answer is given at once, while one call in the
            background renews it.
        store_incomplete: also keep answers that ended with `length`, `content_filter` or a reason nobody knows.
        only_deterministic: only serve requests with `temperature=0` or a `seed`.
        namespace: keeps apart what shares a store: apps, environments, providers of models of the same name.
        side_effects: `request -> bool`: such a request is not served; by default one with `store` or `background`.
        store_timeout: seconds that a call waits for the store at most, once to look and once to keep; None: for ever.
        store_rest: seconds for which a store that did not answer in time is left alone.
    """

    effects: ClassVar[frozenset[str]] = frozenset({"short-circuits", "stores"})

    store: Store = field(factory=MemoryCache, validator=_store)
    ttl: float | None = field(default=None, validator=optional(positive()))
    scope: tuple[str, ...] = field(default=(), kw_only=True, converter=_scope)
    stale_while_revalidate: float | None = field(default=None, kw_only=True, validator=optional(positive()))
    store_incomplete: bool = field(default=False, kw_only=True)
    only_deterministic: bool = field(default=False, kw_only=True)
    namespace: str = field(default="", kw_only=True, validator=_namespace)
    side_effects: Callable[[Request], bool] = field(default=leaves_traces, kw_only=True, repr=False)
    store_timeout: float | None = field(default=0.25, kw_only=True, validator=optional(positive()))
    store_rest: float = field(default=5.0, kw_only=True, validator=non_negative())

    _shelf: Shelf = field(init=False, repr=False)
    _counts: _Counts = field(init=False, repr=False, factory=_Counts)
    _refreshing: dict[str, asyncio.Task[None]] = field(init=False, repr=False, factory=dict)

    def __attrs_post_init__(self) -> None:
        if self.stale_while_revalidate is not None and self.ttl is None and getattr(self.store, "ttl", 0) is None:
            raise ConfigurationError(
                f"Cache.stale_while_revalidate is {self.stale_while_revalidate!r}, but nothing ever becomes stale: "
                "neither the Cache nor its store has a ttl; give it one, Cache(ttl=300, ...)"
            )

    @_shelf.default
    def _make_shelf(self) -> Shelf:
        return Shelf(self.store, timeout=self.store_timeout, rest=self.store_rest)

    def wrap(self, call_next: Handler) -> Handler:
        """The bare layer round *call_next*."""
        key_of = self._key_of()
        # A store in this process neither waits nor fails: it is asked without a shelf in between.
        look: Callable[[str], Any] = self.store.get if type(self.store) is MemoryCache else self._shelf.look
        counts = self._counts
        stale_too = self.stale_while_revalidate is not None
        serves_plain = self.side_effects is leaves_traces and not self.only_deterministic

        async def handle(request: Request) -> Response:
            if not (serves_plain and not request.params) and not self._serves(request):
                counts.skipped += 1
                return await call_next(request)
            key = key_of(request)
            control = request.cache
            if control is not None and control.no_cache:
                counts.skipped += 1
            else:
                entry = look(key)
                if entry is not None and not isinstance(entry, Entry):
                    entry = await entry
                if entry is not None and (entry.fresh or stale_too):
                    response = self._opened(entry, request.call)
                    if response is not None:
                        if not entry.fresh:
                            self._refresh(key, request, call_next)
                        return response
                    await self._shelf.drop(key)
                counts.misses += 1
            if control is not None and control.no_store:
                return await call_next(request)
            return await self._fetch(key, request, call_next)

        return handle

    def _serves(self, request: Request) -> bool:
        return not self.side_effects(request) and (not self.only_deterministic or _deterministic(request))

    def _key_of(self) -> Callable[[Request], str]:
        sharing = sharing_key(self.scope)
        scope = self.scope
        prefix = f"{self.namespace}:" if self.namespace else ""

        def key_of(request: Request) -> str:
            key = sharing(request) if request.tags else request.identity
            if type(key) is not str:
                # Tags are the caller's own words: a store sees a digest of them.
                key = hashlib.sha256(msgspec.msgpack.encode((key, scope))).hexdigest()
            return prefix + key if prefix else key

        return key_of

    def _opened(self, entry: Entry, call: Call | None) -> Response | None:
        """The answer in *entry* as one of this *call*, or None if it cannot be read."""
        try:
            stored = _decode(entry.value)
        except Exception as error:  # noqa: BLE001 - whatever a store gave back: it is a miss
            self._shelf.failed("get", error)
            return None
        if stored.schema != SCHEMA:
            return None
        if entry.fresh:
            self._counts.hits += 1
        else:
            self._counts.stale += 1
        if call is not None:
            call.hits += 1
            call.cache = "hit" if entry.fresh else "stale"
        response = stored.answer
        force_setattr(response, "_call", call)  # nobody else has it: it was made for this call
        return response

    async def _fetch(self, key: str, request: Request, call_next: Handler) -> Response:
        """Ask below, and keep the answer if it is one to keep."""
        call, ledger = request.call, request.ledger
        if call is None or ledger is None:
            response = await call_next(request)
            vouched = True
        else:
            hits, node = call.hits, ledger.child()
            response = await call_next(replace(request, ledger=node))
            # Kept by the caller whose own attempt answered: one who joined another's flight cannot tell which model
            # it was, nor can one who was given a substitute by a layer below. A cache below has judged it already.
            models = [attempt.model for attempt in node.attempts if attempt.outcome == "ok"]
            from_below = call.hits > hits and call.cache == "hit"
            vouched = models.count(request.model) == len(models) if models else from_below
        reason = response.finish_reason
        if vouched and (reason in _COMPLETE or (self.store_incomplete and reason in _INCOMPLETE)):
            await self._keep(key, request.cache, response)
        return response

    async def _keep(self, key: str, control: CacheControl | None, response: Response) -> None:
        try:
            value = _encode(_Stored(SCHEMA, replace(response, rate_limit=None, _call=None)))
        except Exception as error:  # noqa: BLE001 - an answer that cannot be written down is still an answer
            self._shelf.failed("encode", error)
            return
        ttl = self.ttl if control is None or control.ttl is None else control.ttl
        stale = self.stale_while_revalidate or 0.0
        if type(self.store) is MemoryCache:
            await self.store.set(key, value, ttl=ttl, stale=stale)
        elif not await self._shelf.put(key, value, ttl=ttl, stale=stale):
            return
        self._counts.stores += 1

    def _refresh(self, key: str, request: Request, call_next: Handler) -> None:
        """Renew a stale answer in the background, unless that is being done."""
        running = self._refreshing.get(key)
        if (running is not None and _alive(running)) or (request.cache is not None and request.cache.no_store):
            return
        call = Call(request.tags, Ledger())
        request = replace(request, deadline=None, sink=None, ledger=call.ledger, call=call)

        async def refresh() -> None:
            try:
                await self._fetch(key, request, call_next)
            except Exception:  # noqa: BLE001 - nobody waits for it, the stale answer stays
                self._counts.refresh_failures += 1
            finally:
                call.finished = True
                # Another may have taken the place of one that was thought to be lost.
                if self._refreshing.get(key) is asyncio.current_task():
                    del self._refreshing[key]

        # In a context of its own: what the caller had in his is not for those who get the new answer.
        task = get_running_loop().create_task(refresh(), name="llamina cache refresh", context=Context())
        self._refreshing[key] = task

    def explain(self, request: Request | None = None) -> str:
        """What it does; for a *request*, what it will do, as things stand now."""
        from ._explanations import of_cache

        return "\n".join(of_cache(self, request))

    def _at_worst(self, calls: float, own: float, asked: float) -> tuple[float, float, float]:
        from ._explanations import store_waits

        waits = store_waits(self)
        return calls, own + waits, asked + waits

    def stats(self) -> dict[str, Any]:
        """`cache.hits`, `.misses`, `.stale` answers given, `.stores` made, `.skipped` requests, `.errors` of the store."""
        counts = self._counts
        return {
            "cache.hits": counts.hits,
            "cache.misses": counts.misses,
            "cache.stale": counts.stale,
            "cache.stores": counts.stores,
            "cache.skipped": counts.skipped,
            "cache.errors": self._shelf.errors,
            "cache.refreshing": len(self._refreshing),
            "cache.refresh_failures": counts.refresh_failures,
        }

    async def aclose(self) -> None:
        """Wait for the answers that are being renewed, at most 5 seconds, then close the store."""
        loop = get_running_loop()
        running = [task for task in list(self._refreshing.values()) if task.get_loop() is loop]
        if running:
            _, hanging = await asyncio.wait(running, timeout=_DRAIN)
            for task in hanging:
                task.cancel()
            if hanging:
                await asyncio.wait(hanging)
        close: Callable[[], Awaitable[None]] | None = getattr(self.store, "aclose", None)
        if close is not None:
            await close()


def _alive(task: asyncio.Task[None]) -> bool:
    """Whether *task* will end: the loop of one that was left behind, or lost in a fork, never runs again."""
    loop = task.get_loop()
    # A child process has the loop of its parent as it was then, neither closed nor ever going on.
    return not task.done() and (loop is get_running_loop() or (not loop.is_closed() and loop.is_running()))


def _deterministic(request: Request) -> bool:
    params = request.params
    return params.get("temperature") == 0 or params.get("seed") is not None
