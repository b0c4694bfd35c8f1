"""Doors: code that is written against an SDK of a provider runs through a stack, by one argument.

    stack = build_stack([Cache(), Retry(attempts=3)], OpenAITransport())
    client = openai.AsyncOpenAI(http_client=httpx2_async_client(stack), max_retries=0)

    client = openai.OpenAI(http_client=httpx2_client(stack), max_retries=0)             # the same for sync code
    client = anthropic.Anthropic(http_client=httpx2_client(stack), max_retries=0)
    ChatOpenAI(http_async_client=httpx2_async_client(stack), ...)                       # and for what is built on an SDK

A request of the SDK (chat completions, Responses, messages, embeddings) becomes a Request, goes through the stack, and
is answered as the provider would: streams event by event, errors by the status and the body that make the SDK raise its
own exception. A client of httpx 0.28 is made by `httpx_client` and `httpx_async_client`.

The one surprise: the key of the SDK is not used. The transport of the stack has the key; the SDK only wants one to be
there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._tags import TAGS_HEADER, tags

if TYPE_CHECKING:
    from llamina.protocol import Handler
    from llamina.stack import Stack

__all__ = ["TAGS_HEADER", "httpx2_async_client", "httpx2_client", "httpx_async_client", "httpx_client", "tags"]


def httpx2_async_client(stack: Stack | Handler, **settings: Any) -> Any:
    """An `httpx2.AsyncClient` for async SDKs; *settings* are those of the client. Closing it leaves the stack open."""
    from ._async import async_client

    return async_client("httpx2", stack, settings)


def httpx_async_client(stack: Stack | Handler, **settings: Any) -> Any:
    """An `httpx.AsyncClient`, for what is still built on httpx 0.28."""
    from ._async import async_client

    return async_client("httpx", stack, settings)


def httpx2_client(stack: Stack | Handler, **settings: Any) -> Any:
    """An `httpx2.Client` for sync SDKs: the stack runs on the loop that all blocking faces share."""
    from ._sync import sync_client

    return sync_client("httpx2", stack, settings)


def httpx_client(stack: Stack | Handler, **settings: Any) -> Any:
    """An `httpx.Client`, for what is still built on httpx 0.28."""
    from ._sync import sync_client

    return sync_client("httpx", stack, settings)
