"""Where a transport sends to, from its settings: the address, the headers, and what must never be shown.

    target, secrets = make_target("https://api.example.com/v1", "/chat/completions", Secret("sk-..."), {"x-team": "a"})

Everything is checked here, once: an address with a password in it, a header with a line break in it.

The one surprise: the values of headers whose name says that they are credentials are secrets too, and are masked like
the key.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import SplitResult, urlsplit, urlunsplit

from llamina.errors import ConfigurationError
from llamina.secret import Secret

from ._engines import Target

__all__ = ["check_url", "is_credential", "make_target"]

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CREDENTIAL = re.compile(r"auth|key|token|secret|cookie|password", re.IGNORECASE)
_FORBIDDEN = frozenset({"host", "content-length", "transfer-encoding", "connection"})


def check_url(url: str) -> SplitResult:
    """*url* in parts.

    Raises:
        ConfigurationError: it is no http(s) address, or has a user or a password in it. The message never shows those.
    """
    if not isinstance(url, str):
        raise ConfigurationError(
            f"HTTPTransport.base_url must be a URL, got {type(url).__name__}; like https://host/v1"
        )
    parts = urlsplit(url)
    try:
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if "@" in parts.netloc:
        raise ConfigurationError(
            "HTTPTransport.base_url must hold no user and no password; pass api_key= or headers= instead"
        )
    if not good or not url.isprintable() or " " in url:
        raise ConfigurationError(
            f"HTTPTransport.base_url must be an http or https address, got {url!r}; write it like https://host/v1"
        )
    return parts


def is_credential(name: object, value: object) -> bool:
    """Whether a header's value must not be shown, by the header's name."""
    return isinstance(name, str) and isinstance(value, str) and value != "" and bool(_CREDENTIAL.search(name))


def make_target(
    base_url: str, path: str, api_key: Secret | None, headers: Mapping[str, str | Secret]
) -> tuple[Target, tuple[Secret, ...]]:
    """The address and the headers of every request, and the values that must not be shown.

    Raises:
        ConfigurationError: the address, the key or a header cannot be sent.
    """
    parts = check_url(base_url)
    url = urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/") + path, parts.query, ""))
    merged = {"content-type": "application/json", "user-agent": "llamina"}
    secrets: list[Secret] = []
    if api_key is not None:
        merged["authorization"] = f"Bearer {_sendable('api_key', api_key.reveal(), secret=True)}"
        secrets.append(api_key)
    for name, value in headers.items():
        merged[_header_name(name)] = _header_value(name, value)
        if isinstance(value, Secret):
            secrets.append(value)
    return Target(url, merged), tuple(secrets)


def _header_name(name: object) -> str:
    if not isinstance(name, str) or not _TOKEN.fullmatch(name):
        raise ConfigurationError(f"HTTPTransport.headers has the name {name!r}; a name is letters, digits and '-'")
    if name.lower() in _FORBIDDEN:
        raise ConfigurationError(f"HTTPTransport.headers may not set {name!r}; the HTTP client does")
    return name.lower()


def _header_value(name: str, value: object) -> str:
    field = f"headers[{name!r}]"
    if isinstance(value, Secret):
        return _sendable(field, value.reveal(), secret=True)
    if not isinstance(value, str):
        raise ConfigurationError(f"HTTPTransport.{field} must be text or a Secret, got {type(value).__name__}")
    return _sendable(field, value, secret=False)


def _sendable(field: str, value: str, *, secret: bool) -> str:
    """*value*, if it can stand in a header: a line break in it would be a header of somebody else's making."""
    shown = "a value" if secret else repr(value)
    if any((ord(character) < 32 and character != "\t") or ord(character) == 127 for character in value):
        raise ConfigurationError(
            f"HTTPTransport.{field} must hold no line break and no control character, got {shown} that does; strip it"
        )
    try:
        value.encode("latin-1")
    except UnicodeEncodeError:
        raise ConfigurationError(
            f"HTTPTransport.{field} must be Latin-1 text, got {shown} that is not; encode it"
        ) from None
    return value
