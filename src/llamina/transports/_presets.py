"""Providers by name: where each is, which wire it speaks, and which environment variables hold its key.

    HTTPTransport(provider="groq")               # the key from GROQ_API_KEY
    HTTPTransport.preset("ollama")               # no key; OLLAMA_HOST moves it
    for name, preset in presets().items(): ...

A preset is an address with a name. What is passed to the transport goes before the environment, the environment before
the preset.

The one surprise: a `base_url` that is passed without a `provider` never receives a key from the environment.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from types import MappingProxyType
from urllib.parse import urlsplit

from attrs import frozen

from llamina.errors import ConfigurationError

__all__ = ["Preset", "presets"]


@frozen
class Preset:
    """One provider.

    Attributes:
        base_url: the address that paths of the wire are appended to.
        key_names: environment variables that may hold the key, the first that is set counts.
        needs_key: whether the provider refuses calls without one.
        url_name: an environment variable that replaces `base_url`; None where there is no usual one.
        read_url: makes an address of what that variable holds.
        wire: the dialect that it speaks, as `HTTPTransport.wire` names it.
    """

    base_url: str
    key_names: tuple[str, ...] = ()
    needs_key: bool = True
    url_name: str | None = None
    read_url: Callable[[str], str] = str
    wire: str = "chat"

    def find_key(self) -> str | None:
        """The key from the environment, or None; white space round it is none of it."""
        for name in self.key_names:
            if key := os.environ.get(name, "").strip():
                return key
        return None

    def find_url(self) -> str:
        """The address from the environment, else the preset's own."""
        named = os.environ.get(self.url_name, "").strip() if self.url_name else ""
        return self.read_url(named) if named else self.base_url


def _ollama_url(host: str) -> str:
    """An address from OLLAMA_HOST: a host with or without a scheme and a port, and no path of the wire."""
    parts = urlsplit(host if "://" in host else f"http://{host}")
    try:
        port = parts.port
    except ValueError:
        raise ConfigurationError(f"OLLAMA_HOST must be a host and a port, got {host!r}; like 127.0.0.1:11434") from None
    if port is None and "://" not in host:
        port = 11434
    name = parts.hostname or "127.0.0.1"
    if name in ("0.0.0.0", "::"):  # noqa: S104 - a server that listens on every address is reached on this one
        name = "127.0.0.1"
    authority = f"[{name}]" if ":" in name else name
    return f"{parts.scheme}://{authority}{f':{port}' if port else ''}{parts.path.rstrip('/')}/v1"


_PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "openai": Preset("https://api.openai.com/v1", ("OPENAI_API_KEY",), url_name="OPENAI_BASE_URL"),
        "anthropic": Preset(
            "https://api.anthropic.com", ("ANTHROPIC_API_KEY",), url_name="ANTHROPIC_BASE_URL", wire="anthropic"
        ),
        "openrouter": Preset("https://openrouter.ai/api/v1", ("OPENROUTER_API_KEY",)),
        "groq": Preset("https://api.groq.com/openai/v1", ("GROQ_API_KEY",), url_name="GROQ_BASE_URL"),
        "google": Preset(
            "https://generativelanguage.googleapis.com/v1beta/openai", ("GEMINI_API_KEY", "GOOGLE_API_KEY")
        ),
        "ollama": Preset("http://127.0.0.1:11434/v1", needs_key=False, url_name="OLLAMA_HOST", read_url=_ollama_url),
        "local": Preset("http://127.0.0.1:8000/v1", needs_key=False),
    }
)


def presets() -> Mapping[str, Preset]:
    """Every preset by its name."""
    return _PRESETS


def find_preset(name: str) -> Preset:
    """The preset of that name.

    Raises:
        ConfigurationError: there is none; the message lists those that exist.
    """
    try:
        return _PRESETS[name]
    except KeyError:
        raise ConfigurationError(
            f"HTTPTransport.provider {name!r} is no preset; use one of {', '.join(_PRESETS)}, "
            "or pass base_url= and keep the name as a label"
        ) from None
