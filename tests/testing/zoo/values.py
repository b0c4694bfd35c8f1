"""Layers that lose, change or share what passes through them."""

from __future__ import annotations

import asyncio
import copy
from typing import Any

from llamina import Handler, MalformedResponseError, Middleware, Request, Response, middleware
from zoo import Wrong


@middleware
async def builds_a_new_request(request: Request, call_next: Handler) -> Response:
    """Names the fields it knows, and loses the others."""
    return await call_next(Request.chat(request.model, [m.text for m in request.messages], max_tokens=5))


@middleware
async def drops_unknown_parameters(request: Request, call_next: Handler) -> Response:
    """Keeps a list of parameters that it knows."""
    known = {key: value for key, value in request.params.items() if key in ("temperature", "max_tokens")}
    return await call_next(request.evolve(params=known))


@middleware
async def loses_the_tags(request: Request, call_next: Handler) -> Response:
    """Sets a tag, and forgets those that were there."""
    return await call_next(request.evolve(tags={"app": "mine"}))


@middleware
async def sets_a_tag(request: Request, call_next: Handler) -> Response:
    """As it should be: beside those that were there."""
    return await call_next(request.evolve(tags={**request.tags, "app": "mine"}))


@middleware
async def rebuilds_the_response(request: Request, call_next: Handler) -> Response:
    """Returns the text and forgets the rest."""
    return Response.of((await call_next(request)).text)


@middleware
async def changes_the_request(request: Request, call_next: Handler) -> Response:
    """Writes into a value that belongs to the caller."""
    nested = request.params.get("nested")
    if nested is not None:
        nested["list"].append(3)
    return await call_next(request)


@middleware
async def writes_into_a_message(request: Request, call_next: Handler) -> Response:
    """Notes on the caller's message that it has been seen."""
    extra: Any = request.messages[-1].extra
    if extra:
        extra["seen"] = True
    return await call_next(request)


@middleware
async def lengthens_the_deadline(request: Request, call_next: Handler) -> Response:
    """Gives every call its own thirty hours."""
    return await call_next(request.evolve(deadline=asyncio.get_running_loop().time() + 108_000))


@middleware
async def forgets_the_deadline(request: Request, call_next: Handler) -> Response:
    """Takes the deadline off, since the layers below have limits of their own."""
    return await call_next(request.evolve(deadline=None))


@middleware
async def returns_nothing(request: Request, call_next: Handler) -> Response:  # type: ignore[return]
    """Lacks a `return`."""
    await call_next(request)


@middleware
async def takes_vectors_for_an_empty_answer(request: Request, call_next: Handler) -> Response:
    """Refuses answers without text; those to embed requests have none."""
    response = await call_next(request)
    if not response.message.parts:
        raise MalformedResponseError("the answer is empty")
    return response


@middleware
async def refuses_empty_answers(request: Request, call_next: Handler) -> Response:
    """As it should be: to chats only."""
    response = await call_next(request)
    if request.kind == "chat" and not response.message.parts:
        raise MalformedResponseError("the answer is empty")
    return response


def cache(key: Any, *, copies: bool = True) -> Middleware:
    """A cache in a few lines."""

    def layer(call_next: Handler) -> Handler:
        kept: dict[Any, Response] = {}

        async def handle(request: Request) -> Response:
            name = key(request)
            if name not in kept:
                kept[name] = await call_next(request)
                return kept[name].evolve(extra=copy.deepcopy(kept[name].extra)) if copies else kept[name]
            found = kept[name]
            return found.evolve(extra=copy.deepcopy(found.extra)) if copies else found

        return handle

    return layer


def by_tenant(request: Request) -> Any:
    """What an answer may be kept under."""
    return request.tags.get("tenant"), request.identity


WRONG = {
    "request rebuilt": Wrong(lambda: builds_a_new_request, "request-reaches-below"),
    "unknown parameters dropped": Wrong(lambda: drops_unknown_parameters, "request-reaches-below"),
    "tags replaced": Wrong(lambda: loses_the_tags, "request-reaches-below", lambda: sets_a_tag),
    "response rebuilt": Wrong(lambda: rebuilds_the_response, "response-comes-back"),
    "request changed": Wrong(lambda: changes_the_request, "request-is-a-value"),
    "message written into": Wrong(lambda: writes_into_a_message, "request-is-a-value"),
    "deadline lengthened": Wrong(lambda: lengthens_the_deadline, "deadline-never-grows"),
    "deadline forgotten": Wrong(lambda: forgets_the_deadline, "deadline-never-grows"),
    "nothing returned": Wrong(lambda: returns_nothing, "answers"),
    "vectors taken for nothing": Wrong(
        lambda: takes_vectors_for_an_empty_answer, "embeddings-pass", lambda: refuses_empty_answers
    ),
    "one object for all callers": Wrong(
        lambda: cache(by_tenant, copies=False), "answers-are-copies", lambda: cache(by_tenant)
    ),
    "one answer for all questions": Wrong(lambda: cache(lambda request: request.model), "concurrent-use"),
    "one answer for all tenants": Wrong(lambda: cache(lambda request: request.identity), "tenants-are-apart"),
}
