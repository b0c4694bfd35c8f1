"""Every exception class of the two SDKs becomes one of ours, and leaves its request behind."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import re
from pathlib import Path
from typing import Any

import pytest
from test_http_secrets import shown

from llamina.errors import (
    AuthenticationError,
    ConfigurationError,
    ContentFilterError,
    InvalidRequestError,
    LLMError,
    MalformedResponseError,
    NetworkError,
    NotFoundError,
    OverloadedError,
    PermissionDeniedError,
    QuotaExceededError,
    RateLimitError,
    RequestTimeoutError,
    ServerError,
)
from llamina.transports._failures import failure_of

httpx2 = pytest.importorskip("httpx2")
openai = pytest.importorskip("openai")
anthropic = pytest.importorskip("anthropic")

KEY = "sk-canary-0123456789"

# What a class becomes; those that carry an answer become what its status says.
BECOMES: dict[str, type[LLMError]] = {
    "openai.OpenAIError": ConfigurationError,
    "openai.APIError": ServerError,
    "openai.APIConnectionError": NetworkError,
    "openai.APITimeoutError": RequestTimeoutError,
    "openai.APIResponseValidationError": MalformedResponseError,
    "openai.SubjectTokenProviderError": AuthenticationError,
    "openai.LengthFinishReasonError": MalformedResponseError,
    "openai.ContentFilterFinishReasonError": ContentFilterError,
    "openai.WebSocketConnectionClosedError": NetworkError,
    "openai.WebSocketQueueFullError": NetworkError,
    "openai.BadRequestError": InvalidRequestError,
    "openai.AuthenticationError": AuthenticationError,
    "openai.OAuthError": AuthenticationError,
    "openai.PermissionDeniedError": PermissionDeniedError,
    "openai.NotFoundError": NotFoundError,
    "openai.ConflictError": InvalidRequestError,
    "openai.UnprocessableEntityError": InvalidRequestError,
    "openai.RateLimitError": RateLimitError,
    "openai.InternalServerError": ServerError,
    "openai.APIStatusError": InvalidRequestError,
    "anthropic.AnthropicError": ConfigurationError,
    "anthropic.APIError": ServerError,
    "anthropic.APIConnectionError": NetworkError,
    "anthropic.APITimeoutError": RequestTimeoutError,
    "anthropic.APIResponseValidationError": MalformedResponseError,
    "anthropic.APIWebhookValidationError": MalformedResponseError,
    "anthropic.CredentialsError": AuthenticationError,
    "anthropic.IdentityTokenFileError": AuthenticationError,
    "anthropic.WorkloadIdentityError": AuthenticationError,
    "anthropic.RetryableError": LLMError,
    "anthropic.BadRequestError": InvalidRequestError,
    "anthropic.AuthenticationError": AuthenticationError,
    "anthropic.PaymentRequiredError": QuotaExceededError,
    "anthropic.PermissionDeniedError": PermissionDeniedError,
    "anthropic.NotFoundError": NotFoundError,
    "anthropic.RequestTimeoutError": RequestTimeoutError,
    "anthropic.ConflictError": InvalidRequestError,
    "anthropic.PreconditionFailedError": InvalidRequestError,
    "anthropic.ContentTooLargeError": InvalidRequestError,
    "anthropic.UnprocessableEntityError": InvalidRequestError,
    "anthropic.RateLimitError": RateLimitError,
    "anthropic.RequestHeaderFieldsTooLargeError": InvalidRequestError,
    "anthropic.ClientClosedRequestError": InvalidRequestError,
    "anthropic.InternalServerError": ServerError,
    "anthropic.HTTPNotImplementedError": ServerError,
    "anthropic.ServiceUnavailableError": ServerError,
    "anthropic.GatewayTimeoutError": ServerError,
    "anthropic.OverloadedError": OverloadedError,
    "anthropic.APIStatusError": InvalidRequestError,
}


DEFINED = re.compile(r"^class \w+\(.*(?:Error|Exception)\)", re.MULTILINE)


def walk() -> list[type[Exception]]:
    """Every class of the two trees, wherever in the packages it is defined."""
    found: set[type[Exception]] = set()
    for sdk, root in ((openai, openai.OpenAIError), (anthropic, anthropic.AnthropicError)):
        home = Path(sdk.__file__).parent
        for file in home.rglob("*.py"):
            if DEFINED.search(file.read_text("utf-8")):
                parts = file.relative_to(home.parent).with_suffix("").parts
                with contextlib.suppress(Exception):  # a corner of the SDK that needs an extra of its own
                    importlib.import_module(".".join(parts))
        pending = [root]
        while pending:
            kind = pending.pop()
            found.add(kind)
            pending += kind.__subclasses__()
    return sorted(found, key=name)


def name(kind: type[Exception]) -> str:
    """`openai.RateLimitError`."""
    return f"{kind.__module__.partition('.')[0]}.{kind.__name__}"


REQUEST = httpx2.Request("POST", "http://h/v1?key=" + KEY, headers={"authorization": KEY}, content=b"canary-prompt")


def made(kind: type[Exception]) -> Exception:
    """An instance, as the SDK builds it."""
    status = getattr(kind, "status_code", 500 if kind.__name__ == "InternalServerError" else 418)
    response = httpx2.Response(status, request=REQUEST, content=b'{"error": {"message": "words"}}')
    ready: dict[str, Any] = {
        "response": response,
        "request": REQUEST,
        "body": {"message": "words"},
        "message": "words",
        "completion": type("Completion", (), {"usage": None})(),
        "unsent_messages": ["canary-prompt"],
        "path": None,
    }
    if inspect.isfunction(kind.__init__):
        wanted = list(inspect.signature(kind.__init__).parameters.values())[1:]
        if not {one.name for one in wanted if one.default is one.empty} <= ready.keys():
            return Exception.__new__(kind, "words")  # of the tools of an SDK, which no transport uses
        positional = [ready[one.name] for one in wanted if one.kind is one.POSITIONAL_OR_KEYWORD]
        named = {
            one.name: ready[one.name] for one in wanted if one.kind is one.KEYWORD_ONLY and one.default is one.empty
        }
        return kind(*positional, **named)
    return kind("words")


CLASSES = walk()


@pytest.mark.parametrize("kind", CLASSES, ids=name)
def test_every_class_is_mapped(kind: type[Exception]) -> None:
    """None goes through as it is; a class that a later version adds falls to its family."""
    known = next(base for base in kind.__mro__ if name(base) in BECOMES)

    failure = failure_of(made(kind), host="api.example")

    assert type(failure) is BECOMES[name(known)]
    assert "canary" not in shown(failure)


def test_there_are_classes_to_walk() -> None:
    """The walk sees the trees of both, and the table names nothing that is not there."""
    assert set(BECOMES) <= {name(kind) for kind in CLASSES}


@pytest.mark.parametrize("sdk", [openai, anthropic], ids=["openai", "anthropic"])
@pytest.mark.parametrize(
    ("cause", "kind", "processed"),
    [
        ("ConnectError", NetworkError, False),
        ("ConnectTimeout", RequestTimeoutError, False),
        ("PoolTimeout", RequestTimeoutError, False),
        ("ReadTimeout", RequestTimeoutError, True),
        ("RemoteProtocolError", NetworkError, True),
        ("DecodingError", MalformedResponseError, True),
    ],
)
def test_what_lies_below_a_failed_connection_counts(
    sdk: Any, cause: str, kind: type[LLMError], processed: bool
) -> None:
    """The SDKs say only that it failed; whether the provider can have seen the request is in their cause."""
    below = getattr(httpx2, cause)("words")
    error = (sdk.APITimeoutError if "Timeout" in cause else sdk.APIConnectionError)(request=REQUEST)
    error.__cause__ = below

    failure = failure_of(error, host="h")

    assert type(failure) is kind
    assert failure.processed is processed
    assert "canary" not in shown(failure)


def test_the_errors_of_others_are_not_touched() -> None:
    """A mistake in a user's hook is not a failure of the provider."""
    assert failure_of(ValueError("a bug"), host="h") is None
