"""Where a transport sends to, from its settings: the address, the headers, and what must never be shown.

    url = url_of(check_url("https://api.example.com/v1", "HTTPTransport"), wire, "HTTPTransport")
    headers, secrets = check_headers({"x-team": "a"}, "HTTPTransport")

Everything is checked here, once: an address with a password in it, a header with a line break in it.

The one surprise: the values of headers whose name says that they are credentials are secrets too, and are masked like
the key.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import SplitResult, urlsplit, urlunsplit

from llamina.errors import ConfigurationError
from llamina.secret import Secret, names_credential

from ._wires import Wire

__all__ = ["check_headers", "check_url", "is_credential", "key_header", "sendable", "to_headers", "to_secret", "url_of"]

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FORBIDDEN = frozenset({"host", "content-length", "transfer-encoding", "connection"})
_ANTHROPIC_VERSION = "2023-06-01"


def to_secret(value: str | Secret | None, transport: Any) -> Secret | None:
    """A key as a setting of *transport*.

    Raises:
        ConfigurationError: it is empty, or has the word Bearer before it.
    """
    if value is None or isinstance(value, Secret):
        return value
    owner = type(transport).__name__
    if value == "":
        raise ConfigurationError(f"{owner}.api_key must not be empty; leave it out for a server without keys")
    if value.lower().startswith("bearer "):
        raise ConfigurationError(f"{owner}.api_key must be the key alone; leave out 'Bearer ', it is added")
    return Secret(value)


def to_headers(values: Mapping[str, str | Secret] | None, transport: Any) -> Mapping[str, str | Secret]:
    """Credentials among the headers become Secrets, so that no repr of the settings shows them."""
    if values is None:
        return {}
    if not isinstance(values, Mapping):
        raise ConfigurationError(
            f"{type(transport).__name__}.headers must be a mapping of names to values, got {type(values).__name__}"
        )
    return {name: Secret(str(value)) if is_credential(name, value) else value for name, value in values.items()}


def check_url(url: str, owner: str) -> SplitResult:
    """*url* in parts.

    Raises:
        ConfigurationError: it is no http(s) address, or has a user or a password in it. The message never shows those.
    """
    if not isinstance(url, str):
        raise ConfigurationError(f"{owner}.base_url must be a URL, got {type(url).__name__}; like https://host/v1")
    parts = urlsplit(url)
    try:
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if "@" in parts.netloc:
        raise ConfigurationError(
            f"{owner}.base_url must hold no user and no password; pass api_key= or headers= instead"
        )
    if not good or not url.isprintable() or " " in url:
        raise ConfigurationError(
            f"{owner}.base_url must be an http or https address, got {url!r}; write it like https://host/v1"
        )
    return parts


def url_of(address: SplitResult, wire: Wire, owner: str) -> str:
    """Where *wire* is spoken at a base address; `/v1` is not doubled where both the address and the path have it.

    Raises:
        ConfigurationError: the address has the path already.
    """
    base = address.path.rstrip("/")
    if base.endswith((wire.path, wire.path.removeprefix("/v1"))):
        raise ConfigurationError(f"{owner}.base_url must end before {wire.path!r}, which is appended, got {base!r}")
    if wire.path.startswith("/v1/"):
        base = base.removesuffix("/v1")
    return urlunsplit((address.scheme, address.netloc, base + wire.path, address.query, ""))


def is_credential(name: object, value: object) -> bool:
    """Whether a header's value must not be shown, by the header's name."""
    return isinstance(name, str) and isinstance(value, str) and value != "" and names_credential(name)


def key_header(api_key: Secret | None, wire: str, owner: str) -> dict[str, str]:
    """The headers with which a wire sends a key and says its version.

    Raises:
        ConfigurationError: the key cannot be sent.
    """
    headers = {"anthropic-version": _ANTHROPIC_VERSION} if wire == "anthropic" else {}
    if api_key is not None:
        key = sendable("api_key", api_key.reveal(), owner, secret=True)
        name, value = ("x-api-key", key) if wire == "anthropic" else ("authorization", f"Bearer {key}")
        headers[name] = value
    return headers


def check_headers(headers: Mapping[str, str | Secret], owner: str) -> tuple[dict[str, str], tuple[Secret, ...]]:
    """The headers as they are sent, their names in lower case, and which of their values must not be shown.

    Raises:
        ConfigurationError: one cannot be sent.
    """
    checked = {_header_name(name, owner): _header_value(name, value, owner) for name, value in headers.items()}
    return checked, tuple([value for value in headers.values() if isinstance(value, Secret)])


def _header_name(name: object, owner: str) -> str:
    if not isinstance(name, str) or not _TOKEN.fullmatch(name):
        raise ConfigurationError(f"{owner}.headers has the name {name!r}; a name is letters, digits and '-'")
    if name.lower() in _FORBIDDEN:
        raise ConfigurationError(f"{owner}.headers may not set {name!r}; the HTTP client does")
    return name.lower()


def _header_value(name: str, value: object, owner: str) -> str:
    field = f"headers[{name!r}]"
    if isinstance(value, Secret):
        return sendable(field, value.reveal(), owner, secret=True)
    if not isinstance(value, str):
        raise ConfigurationError(f"{owner}.{field} must be text or a Secret, got {type(value).__name__}")
    return sendable(field, value, owner, secret=False)


def sendable(field: str, value: str, owner: str, *, secret: bool) -> str:
    """*value*, if it can stand in a header: a line break in it would be a header of somebody else's making."""
    shown = "a value" if secret else repr(value)
    if any((ord(character) < 32 and character != "\t") or ord(character) == 127 for character in value):
        raise ConfigurationError(
            f"{owner}.{field} must hold no line break and no control character, got {shown} that does; strip it"
        )
    try:
        value.encode("latin-1")
    except UnicodeEncodeError:
        raise ConfigurationError(f"{owner}.{field} must be Latin-1 text, got {shown} that is not; encode it") from None
    return value
