"""The terminal on Anthropic's official SDK, with the extra `anthropic`: messages.

    AnthropicTransport()                                          # the key from ANTHROPIC_API_KEY
    AnthropicTransport(client=anthropic.AsyncAnthropicVertex(...))   # Vertex, Foundry, or a client set up by you

The SDK authenticates, makes the address and sends; its answer is taken raw and decoded once, and none of its models is
built. It sends one request for one call, whatever the client's `max_retries` says, follows no redirect, and its limits
of time are those of this transport. Every failure is an `LLMError`, which never holds the key, a header or the prompt.

The SDK says its own `anthropic-version`, newer than the one of `HTTPTransport`: with 2026-10-21 Anthropic refuses
`temperature`, `top_p` and `top_k`. `headers={"anthropic-version": ...}` says another.

The one surprise: building the transport imports the SDK, which takes two seconds. And its loggers are its own:
with `ANTHROPIC_LOG=debug` they say what the SDK decides to say.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from attrs import define, field

from ._sdk_terminal import SDKTerminal

__all__ = ["AnthropicTransport"]


@define(eq=False, slots=False, repr=False)
class AnthropicTransport(SDKTerminal):
    """Calls Anthropic, or a server that speaks like it, through the SDK.

    Args:
        api_key: the key, as text or Secret; without it and without a `base_url`, from ANTHROPIC_API_KEY.
        base_url: the address, with or without `/v1`; left out, that of ANTHROPIC_BASE_URL, else Anthropic's. One that is
            passed gets no key from the environment; without `api_key` nothing is sent as one.
        client: an `anthropic.AsyncAnthropic` of your own, or one of its kind for Vertex or Foundry, to be used instead
            of an own one. It stays open.
        provider: the name that the ledger and the prices know it by.
        headers: further headers of every request of an own client; values are text or Secrets.
        max_response_bytes: an answer that is longer is refused, streamed or not.
        max_connections: connections of an own client; further calls wait for a free one.
        connect_timeout, read_timeout: seconds to connect, and to wait for each piece of an answer, where the request
            has no deadline or a later one.

    Raises:
        ConfigurationError: a setting is wrong, the key is missing, or the SDK is not installed.
    """

    _sdk: ClassVar[str] = "anthropic"
    _client_name: ClassVar[str] = "anthropic.AsyncAnthropic"

    provider: str = field(default="anthropic", kw_only=True)

    def _wire_name(self) -> str:
        return "anthropic"

    def _address(self) -> dict[str, Any]:
        address = super()._address()
        return {**address, "base_url": address["base_url"].rstrip("/").removesuffix("/v1")}

    def _options(self) -> Mapping[str, Any]:
        # With this header the middlewares of a client see a response that is not read, too.
        return {} if self.client is None else {"headers": {"X-Stainless-Raw-Response": "stream"}}

    def _asked(self) -> Mapping[str, Any]:
        if self.client is None:
            return super()._asked()
        import anthropic
        import httpx2

        return {"cast_to": anthropic.AsyncAPIResponse[httpx2.Response]}

    def _new_client(self, http_client: Any) -> Any:
        import anthropic

        headers: dict[str, Any] = dict(self._own_headers)
        if self.api_key is None:
            headers.setdefault("authorization", anthropic.Omit())
        return anthropic.AsyncAnthropic(
            api_key="none" if self.api_key is None else self.api_key.reveal(),
            **self._address(),
            default_headers=headers,
            http_client=http_client,
            max_retries=0,
            open_telemetry=False,
        )
