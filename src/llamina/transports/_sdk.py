"""The official SDKs as engines: the SDK prepares and sends the request, and gives back the raw HTTP response.

    engine = SDKEngine(client, own=False, options={}, sdk="openai", asked={...})
    answer = await engine.post("/chat/completions", body, connect=10.0, read=600.0)

So everything behind the request (reading, decoding, limits, errors) is the same as without an SDK, and none of the
SDK's models is built. Its own retries, time limits and redirects are overridden in each call.

The one surprise: a client of the user's gets the body as a dict, since clients for Azure, Bedrock and Vertex rewrite it
and make the path from it; an own client gets the bytes.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from llamina.errors import AuthenticationError, ConfigurationError, InvalidRequestError, LLMError
from llamina.secret import Secret
from llamina.wire.openai_chat import masked

from ._engines import Answer
from ._failures import failure_of
from ._target import is_credential

__all__ = ["SDKEngine", "check_client", "load", "require", "secrets_of"]

_decode = msgspec.json.Decoder().decode

_PREPARING = frozenset({"_prepare_options", "_prepare_request", "_validate_headers", "async_auth_flow"})
"""Functions of the SDKs in which keys are looked for and a user's own source of tokens is asked."""
_STATUS_ERRORS = frozenset({"APIStatusError", "HTTPStatusError"})
_LONGEST_TEXT = 300
_KEYS = ("api_key", "admin_api_key", "auth_token", "access_token", "aws_secret_key", "aws_session_token")


def require(sdk: str, owner: str) -> None:
    """See that *sdk* is installed, without importing it.

    Raises:
        ConfigurationError: it is not.
    """
    if sdk not in sys.modules and importlib.util.find_spec(sdk) is None:
        raise ConfigurationError(f"{owner} needs the SDK {sdk!r}; install it with: pip install 'llamina[{sdk}]'")


def load(sdk: str, owner: str) -> None:
    """Import *sdk*, which takes a second or two: when the transport is built, for no call should run out of time for it.

    Raises:
        ConfigurationError: it is not installed, or cannot be imported.
    """
    require(sdk, owner)
    try:
        importlib.import_module(sdk)
    except ImportError as error:
        raise ConfigurationError(
            f"{owner} cannot import the SDK {sdk!r} ({error}); install it anew with: pip install 'llamina[{sdk}]'"
        ) from error


def check_client(client: Any, sdk: str, wanted: str, owner: str) -> None:
    """See that *client* is an asynchronous client of *sdk*; those for Azure, Bedrock and Vertex are.

    Raises:
        ConfigurationError: it is not; the message says what to pass.
    """
    kinds = {(base.__module__.partition(".")[0], base.__name__) for base in type(client).__mro__}
    if (sdk, "AsyncAPIClient") in kinds:
        if getattr(client, "workload_identity", None) is not None:
            raise ConfigurationError(
                f"{owner}.client must not have a workload_identity: the SDK then sends a refused request a second time, "
                "which no option turns off; pass it an async function as api_key that gives the token"
            )
        return
    got = f"{type(client).__module__.partition('.')[0]}.{type(client).__qualname__}"
    if (sdk, "SyncAPIClient") in kinds:
        raise ConfigurationError(f"{owner}.client must be asynchronous, got {got}; pass {wanted}(...)")
    raise ConfigurationError(f"{owner}.client must be a client of the SDK {sdk!r}, got {got}; pass {wanted}(...)")


def secrets_of(client: Any) -> tuple[Secret, ...]:
    """What a client sends and nobody may show: its key, its token, and what its headers hold of the kind."""
    found = [getattr(client, name, None) for name in _KEYS]
    found += [value for name, value in client.default_headers.items() if is_credential(name, value)]
    return tuple([Secret(value) for value in found if isinstance(value, str) and value])


class SDKEngine:
    """Posts through a client of an SDK.

    Args:
        sdk: the package; own: whether it was built here, round a `SpreadClient`.
        options: further options of each request, as the SDK calls them.
        asked: how the client's `post` is asked for a response that is not read.
    """

    def __init__(
        self, client: Any, *, sdk: str, own: bool, options: Mapping[str, Any], asked: Mapping[str, Any]
    ) -> None:
        from . import _spread

        self._sdk = sdk

        self._client = client
        self._own = own
        self._asked = asked
        self._options = {**options, "max_retries": 0, "follow_redirects": False}
        self._spread = _spread
        self._timeout = importlib.import_module("httpx2").Timeout

    async def post(
        self, url: str, body: bytes, connect: float, read: float, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Send *body* to the path *url* of the client's address."""
        options = {**self._options, "timeout": self._timeout(read, connect=connect)}
        if headers:
            options["headers"] = {**(options.get("headers") or {}), **headers}
        sent = {"content": body} if self._own else {"body": _decode(body)}
        response: Any = None
        failure: LLMError | None = None
        try:
            response = await self._client.post(url, options=options, **self._asked, **sent)
        except self._spread.Refused as refused:
            return refused.answer
        except Exception as error:
            failure = _unprepared(error)
            if failure is None and (answer := self._refusal_in(error)) is not None:
                return answer
            if failure is None:
                raise
        del body, sent  # the prompt: a traceback may show what a frame holds
        if failure is not None:
            raise failure
        response = getattr(response, "http_response", response)
        if not hasattr(response, "aiter_raw"):
            raise ConfigurationError(
                f"a middleware of the client answered with a {type(response).__name__}; let it return the response"
            )
        if "amazon.eventstream" in response.headers.get("content-type", ""):
            await response.aclose()
            raise InvalidRequestError(
                "Bedrock streams in a format of its own, which is not read here; send the request without a stream"
            )
        return self._spread.answer_of(response)

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes, connect: float, read: float
    ) -> Answer:
        """Send any request to the path *url*."""
        # The SDK says of itself what it wants known; what the app's SDK said of itself is not its word.
        named = {name: value for name, value in headers.items() if not name.startswith(("x-stainless-", "user-agent"))}
        options = {**self._options, "timeout": self._timeout(read, connect=connect)}
        options["headers"] = {**(options.get("headers") or {}), **named}
        # The SDK's methods by name have no body, or no stream, for some of them; `request` takes what they make.
        models = importlib.import_module(f"{self._sdk}._models")
        wanted = models.FinalRequestOptions.construct(method=method.lower(), url=url, content=body or None, **options)
        asked = dict(self._asked)
        try:
            response = await self._client.request(asked.pop("cast_to"), wanted, **asked)
        except Exception as error:
            answer = self._refusal_in(error)
            if answer is None:
                raise
            return answer
        return self._spread.answer_of(getattr(response, "http_response", response))

    def _refusal_in(self, error: BaseException) -> Answer | None:
        """The answer of the provider that an exception of the SDK holds."""
        for found in _chain(error):
            if isinstance(found, self._spread.Refused):
                return found.answer
            if not _STATUS_ERRORS.isdisjoint([base.__name__ for base in type(found).__mro__]):
                return self._spread.answer_of(found.response)  # type: ignore[attr-defined]
        return None

    async def aclose(self) -> None:
        """Close the client, unless it is the user's."""
        if self._own:
            await self._client.close()


def _chain(error: BaseException) -> Iterator[BaseException]:
    """*error* and what it was raised over."""
    below: BaseException | None = error
    for _ in range(8):  # a chain of causes may be a ring
        if below is None:
            return
        yield below
        below = below.__cause__ or below.__context__


def _unprepared(error: Exception) -> LLMError | None:
    """What to raise where the SDK could not even prepare the request: it has no key, or could not get a token."""
    for found in _chain(error):
        frames = {frame.f_code.co_name for frame, _ in traceback.walk_tb(found.__traceback__)}
        if frames.isdisjoint(_PREPARING):
            continue
        if isinstance(found, LLMError):
            return found
        failure = failure_of(found, host="the source of its key") if isinstance(found, Exception) else None
        if failure is None:
            text = masked(f"{type(found).__qualname__}: {found}")[:_LONGEST_TEXT]
            failure = AuthenticationError(f"the client of the SDK has no key for the request ({text})")
            failure.__cause__ = LookupError(text)  # a stand-in: the original's frames hold the request
        failure.processed = False
        return failure
    return None
