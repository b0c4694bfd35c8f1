"""The same code of an SDK, run against a provider and through a door in front of the same provider."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from attrs import define, field

from llamina import build_stack
from llamina.doors import httpx2_async_client
from llamina.testing import SimulatedProvider
from llamina.transports import HTTPTransport

Use = Callable[[Any], Awaitable[Any]]
"""What the app does with a client of the SDK; what it gives back is compared."""

NOISE = frozenset({"created", "created_at", "id", "item_id", "obfuscation", "sequence_number", "completed_at"})
"""Fields that differ from one run to the next, and ids, which a stream must be given before the answer has one."""


@define
class Seen:
    """What one run showed.

    Attributes:
        results: what the app got, or the exception that it got; bodies: what the provider received.
    """

    results: list[Any] = field(factory=list)
    bodies: list[Any] = field(factory=list)


@define
class Case:
    """One thing that an app does: *use* is called once for each item of *script*, unless it is told otherwise."""

    name: str
    use: Use
    script: list[Any]
    wire: str = "chat"
    times: int = 1


def plain(value: Any) -> Any:
    """A result as plain data without what differs from run to run."""
    if hasattr(value, "model_dump"):
        value = value.model_dump(mode="json", exclude_unset=True)
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items() if key not in NOISE}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def raised(error: Exception) -> dict[str, Any]:
    """What an app can see of an exception."""
    body = getattr(error, "body", None)
    body = body if isinstance(body, dict) else {}
    status = getattr(error, "status_code", None)
    return {
        "type": type(error).__name__,
        "status": status,
        "message": (body.get("error") or body).get("message") or str(getattr(error, "message", error)),
        "code": getattr(error, "code", None),
        # A stream has begun before the provider's id of it is known: the door names the call instead.
        "request_id": getattr(error, "request_id", None) if status != 200 else "",
        "retry_after": getattr(getattr(error, "response", None), "headers", {}).get("retry-after"),
        "body": {key: value for key, value in plain(body).items() if key != "request_id"},
    }


async def run(case: Case, client: Any, errors: type[Exception]) -> list[Any]:
    """What the app sees."""
    results: list[Any] = []
    for _ in range(case.times):
        try:
            results.append(plain(await case.use(client)))
        except errors as error:
            results.append(raised(error))
    return results


def compare(case: Case, make: Callable[[str, Any], Any], errors: type[Exception]) -> tuple[Seen, Seen]:
    """What is seen directly, and through the door; *make* builds the SDK's client from an address and an http client."""

    async def both() -> tuple[Seen, Seen]:
        directly, through = Seen(), Seen()
        async with SimulatedProvider(list(case.script), wire=case.wire) as provider:
            client = make(provider.base_url, None)
            directly.results = await run(case, client, errors)
            await client.close()
            await provider.settled()
            directly.bodies = [request.json for request in provider.requests]
        async with SimulatedProvider(list(case.script), wire=case.wire) as provider:
            transport = HTTPTransport(
                base_url=provider.base_url, api_key="sk-real", wire="chat" if case.wire == "embeddings" else case.wire
            )
            async with build_stack([], transport) as stack:
                client = make("http://127.0.0.1:9/v1", httpx2_async_client(stack))
                through.results = await run(case, client, errors)
                await client.close()
                await provider.settled()
            through.bodies = [request.json for request in provider.requests]
        return directly, through

    return asyncio.run(both())
