"""From what an HTTP client or an SDK raises to an `LLMError`, for httpx, httpx2, aiohttp, openai and anthropic alike.

    failure = failure_of(error, host="api.example.com", secrets=secrets)     # None: no failure of the exchange

What matters for money is whether the provider can have seen the request: a connection that never stood is marked
`processed=False`.

The one surprise: the client's own exception is left behind. It holds the request, and with it the key and the prompt,
and aiohttp prints the Authorization header in its repr. The cause of what is returned is a stand-in that has the name
and the text of the original and nothing else.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterable
from typing import Any

from llamina.errors import (
    AuthenticationError,
    ConfigurationError,
    ContentFilterError,
    InvalidRequestError,
    LLMError,
    MalformedResponseError,
    NetworkError,
    RequestTimeoutError,
    ServerError,
)
from llamina.policy.status import error_from_status
from llamina.secret import Secret, mask

__all__ = ["failure_of"]

_CLIENTS = frozenset(
    {"httpx", "httpx2", "httpcore", "httpcore2", "aiohttp", "h11", "anyio", "openai", "anthropic", "llamina"}
)
_QUERY = re.compile(r"\?[^\s'\"<>)]+")
_LONGEST_TEXT = 300
_STATUS_ERRORS = frozenset({"APIStatusError", "HTTPStatusError"})

_UNSEEN = {"processed": False}
_Entry = tuple[type[LLMError], str, dict[str, Any]]

# By the name of the class: httpx and httpx2 have the same names, and what two clients call the same is the same.
# An exception is looked up along its bases, so that a class which a later version adds falls to its family.
_TABLE: dict[str, _Entry] = {
    # Limits of time.
    "ConnectTimeout": (RequestTimeoutError, "connecting to {host} took too long", {"limit": "connect", **_UNSEEN}),
    "ConnectionTimeoutError": (
        RequestTimeoutError,
        "connecting to {host} took too long",
        {"limit": "connect", **_UNSEEN},
    ),
    "PoolTimeout": (
        RequestTimeoutError,
        "no connection to {host} became free in time",
        {"limit": "pool", **_UNSEEN},
    ),
    "WriteTimeout": (RequestTimeoutError, "sending to {host} took too long", {"limit": "write"}),
    "ReadTimeout": (RequestTimeoutError, "{host} sent nothing for too long", {"limit": "read"}),
    "SocketTimeoutError": (RequestTimeoutError, "{host} sent nothing for too long", {"limit": "read"}),
    "TimeoutException": (RequestTimeoutError, "{host} took too long", {"limit": "read"}),
    "ServerTimeoutError": (RequestTimeoutError, "{host} took too long", {"limit": "read"}),
    # The connection never stood.
    "ConnectError": (NetworkError, "could not connect to {host}", _UNSEEN),
    "ClientConnectorError": (NetworkError, "could not connect to {host}", _UNSEEN),
    "ClientHttpProxyError": (NetworkError, "the proxy refused to connect to {host}", _UNSEEN),
    "ProxyError": (NetworkError, "the proxy refused to connect to {host}", _UNSEEN),
    "ServerFingerprintMismatch": (NetworkError, "{host} showed an unexpected certificate", _UNSEEN),
    # It stood and broke.
    "TransportError": (NetworkError, "the connection to {host} broke", {}),
    "ClientConnectionError": (NetworkError, "the connection to {host} broke", {}),
    "ClientPayloadError": (NetworkError, "the connection to {host} broke before the answer was complete", {}),
    "RemoteProtocolError": (NetworkError, "{host} closed the connection or broke the protocol", {}),
    "HttpProcessingError": (NetworkError, "{host} broke the protocol", {}),
    "ClosedResourceError": (NetworkError, "the connection to {host} was closed", {}),
    "BrokenResourceError": (NetworkError, "the connection to {host} broke", {}),
    "EndOfStream": (NetworkError, "the connection to {host} ended", {}),
    "StreamError": (NetworkError, "the answer of {host} was closed while it was read", {}),
    # What came is no answer.
    "DecodingError": (MalformedResponseError, "{host} sent a body that cannot be decompressed", {}),
    "ContentEncodingError": (MalformedResponseError, "{host} sent a body that cannot be decompressed", {}),
    "ContentTypeError": (MalformedResponseError, "{host} sent an unexpected type of content", {}),
    "SSEError": (MalformedResponseError, "{host} sent a stream that cannot be read", {}),
    # The mistake is on this side.
    "LocalProtocolError": (InvalidRequestError, "the request cannot be sent to {host}", {}),
    "UploadAbortedError": (InvalidRequestError, "the request to {host} was given up while it was sent", {}),
    "WSMessageTypeError": (InvalidRequestError, "the request cannot be sent to {host}", {}),
    "UnsupportedProtocol": (ConfigurationError, "the address or the proxy of {host} has no scheme to speak", {}),
    "InvalidURL": (ConfigurationError, "the address of {host} is no URL", {}),
    "NonHttpUrlClientError": (ConfigurationError, "the address of {host} is no HTTP URL", {}),
    "CookieConflict": (ConfigurationError, "the client has conflicting cookies for {host}", {}),
    "TooManyRedirects": (ConfigurationError, "{host} redirects; base_url must be the final address", {}),
    "RedirectClientError": (ConfigurationError, "{host} redirects; base_url must be the final address", {}),
    # What the SDKs raise of their own; what they raise over the client's is read from that.
    "APITimeoutError": (RequestTimeoutError, "{host} took too long", {"limit": "read"}),
    "APIConnectionError": (NetworkError, "the exchange with {host} failed", {}),
    "APIResponseValidationError": (MalformedResponseError, "{host} sent an unexpected answer", {}),
    "APIWebhookValidationError": (MalformedResponseError, "{host} sent an unexpected answer", {}),
    "APIError": (ServerError, "{host} reported an error", {}),
    "CredentialsError": (AuthenticationError, "there are no credentials for {host}", {}),
    "WorkloadIdentityError": (AuthenticationError, "there are no credentials for {host}", {}),
    "SubjectTokenProviderError": (AuthenticationError, "there is no token for {host}", {}),
    "ContentFilterFinishReasonError": (ContentFilterError, "{host} filtered the answer", {"processed": True}),
    "LengthFinishReasonError": (MalformedResponseError, "the answer of {host} was cut", {"retryable": False}),
    "RetryableError": (LLMError, "the client asks for another attempt at {host}", {"retryable": True}),
    "WebSocketConnectionClosedError": (NetworkError, "the connection to {host} was closed", {}),
    "WebSocketQueueFullError": (NetworkError, "too much is waiting to be sent to {host}", _UNSEEN),
    "OpenAIError": (ConfigurationError, "the client of {host} refused the request", {}),
    "AnthropicError": (ConfigurationError, "the client of {host} refused the request", {}),
    # The roots of the families, for what has no name above.
    "HTTPError": (NetworkError, "the exchange with {host} failed", {}),
    "ClientError": (NetworkError, "the exchange with {host} failed", {}),
}


def failure_of(error: Exception, *, host: str, secrets: Iterable[Secret] = ()) -> LLMError | None:
    """The error to raise in the place of *error*, or None where it is no failure of the exchange.

    Raise it outside of the `except` block, else Python keeps the original as its context.
    """
    if not _STATUS_ERRORS.isdisjoint([base.__name__ for base in type(error).__mro__]):  # a hook may ask for it
        refusal = error.response  # type: ignore[attr-defined]
        return error_from_status(refusal.status_code, message=_shown(error, secrets), headers=refusal.headers)
    below = error.__cause__
    if isinstance(below, Exception) and "APIConnectionError" in [base.__name__ for base in type(error).__mro__]:
        error = below if _entry(below) else error  # the SDKs hide which limit or fault it was
    entry = _entry(error)
    if entry is None:
        return None
    kind, sentence, facts = entry
    text = _shown(error, secrets)
    failure = kind(f"{sentence.format(host=host)}: {text}" if text else sentence.format(host=host), **facts)
    stand_in = TimeoutError if kind is RequestTimeoutError else ConnectionError
    name = f"{type(error).__module__.partition('.')[0]}.{type(error).__qualname__}"
    failure.__cause__ = stand_in(f"{name}: {text}" if text else name)
    return failure


def _entry(error: BaseException) -> _Entry | None:
    if error.__cause__ is not None and type(error.__cause__).__name__ == "ContentEncodingError":
        error = error.__cause__  # aiohttp says the same of a body that is cut and of one that is no gzip
    for base in type(error).__mro__:
        if base.__module__.partition(".")[0] in _CLIENTS and base.__name__ in _TABLE:
            return _TABLE[base.__name__]
    if isinstance(error, TimeoutError):
        return _TABLE["ReadTimeout"]
    if isinstance(error, ConnectionRefusedError | ssl.SSLError) or type(error).__name__ in ("gaierror", "herror"):
        return _TABLE["ConnectError"]
    if isinstance(error, OSError):
        return _TABLE["TransportError"]
    return None


def _shown(error: BaseException, secrets: Iterable[Secret]) -> str:
    """The text of *error* with that of the system's error below it, without a key and without the query of a URL."""
    text = str(error)
    below = error
    for _ in range(8):  # a chain of causes may be a ring
        cause = below.__cause__ or below.__context__
        if cause is None:
            break
        below = cause
        if isinstance(below, OSError) and below.errno is not None and (detail := str(below)) not in text:
            text = f"{text} ({detail})" if text else detail
            break
    return _QUERY.sub("?…", mask(text, secrets))[:_LONGEST_TEXT]
