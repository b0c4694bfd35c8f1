"""The terminal on OpenAI's official SDK, with the extra `openai`: chat completions, the Responses API, embeddings.

    OpenAITransport()                                             # the key from OPENAI_API_KEY
    OpenAITransport(api="responses")
    OpenAITransport(client=openai.AsyncAzureOpenAI(...))          # Azure, Bedrock, or a client set up by you

The SDK authenticates, makes the address and sends; its answer is taken raw and decoded once, and none of its models is
built. It sends one request for one call, whatever the client's `max_retries` says, follows no redirect, and its limits
of time are those of this transport. Every failure is an `LLMError`, which never holds the key, a header or the prompt.

The one surprise: building the transport imports the SDK, which takes a second. And its loggers are its own:
with `OPENAI_LOG=debug` they say what the SDK decides to say.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from attrs import define, field

from llamina.policy._validate import one_of

from ._sdk_terminal import SDKTerminal

__all__ = ["OpenAITransport"]


@define(eq=False, slots=False, repr=False)
class OpenAITransport(SDKTerminal):
    """Calls OpenAI, or a server that speaks like it, through the SDK.

    Args:
        api_key: the key, as text or Secret; without it and without a `base_url`, from OPENAI_API_KEY.
        base_url: the address; left out, that of OPENAI_BASE_URL, else OpenAI's. One that is passed gets no key from the
            environment; without `api_key` nothing is sent as one.
        client: an `openai.AsyncOpenAI` of your own, or one of its kind for Azure or Bedrock, to be used instead of an
            own one. It stays open.
        api: "chat" for chat completions, "responses" for the Responses API. Both take embeddings too.
        provider: the name that the ledger and the prices know it by.
        organization, project: whose account it is; left out, as OPENAI_ORG_ID and OPENAI_PROJECT_ID say, but those are
            not sent to a `base_url` that is passed.
        headers: further headers of every request of an own client; values are text or Secrets.
        max_response_bytes: an answer that is longer is refused, streamed or not.
        max_connections: connections of an own client; further calls wait for a free one.
        connect_timeout, read_timeout: seconds to connect, and to wait for each piece of an answer, where the request
            has no deadline or a later one.

    Raises:
        ConfigurationError: a setting is wrong, the key is missing, or the SDK is not installed.
    """

    _sdk: ClassVar[str] = "openai"
    _client_name: ClassVar[str] = "openai.AsyncOpenAI"

    provider: str = field(default="openai", kw_only=True)
    api: str = field(default="chat", kw_only=True, validator=one_of("chat", "responses"))
    organization: str | None = field(default=None, kw_only=True)
    project: str | None = field(default=None, kw_only=True)

    def _wire_name(self) -> str:
        return self.api

    def _alone(self) -> tuple[str, ...]:
        return (*super()._alone(), "organization", "project")

    def _options(self) -> Mapping[str, Any]:
        import openai

        # As the SDK's own methods for these paths say: an administrator's key is not for them.
        options: dict[str, Any] = {"security": {"bearer_auth": True}}
        if self.client is None and self.api_key is None and "authorization" not in self._own_headers:
            options["headers"] = {"Authorization": openai.Omit()}
        return options

    def _new_client(self, http_client: Any) -> Any:
        import openai

        client = openai.AsyncOpenAI(
            api_key="none" if self.api_key is None else self.api_key.reveal(),
            **self._address(),
            organization=self.organization,
            project=self.project,
            default_headers=self._own_headers,
            http_client=http_client,
            max_retries=0,
        )
        if self._elsewhere:  # the account of the environment is none of another server's business
            client.organization, client.project = self.organization, self.project
        return client
