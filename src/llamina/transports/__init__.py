"""Terminals: what answers at the end of a stack.

    from llamina.transports import AnthropicTransport, EchoTransport, HTTPTransport, OpenAITransport

    build_stack([...], EchoTransport())                              # no network, no key
    build_stack([...], HTTPTransport(provider="groq"))               # any OpenAI-compatible server
    build_stack([...], OpenAITransport())                            # on the official SDKs, with an extra each
    build_stack([...], AnthropicTransport())

The one surprise: naming a transport loads neither an HTTP client nor an SDK. An SDK is loaded when its transport is built,
an HTTP client by the first call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from llamina._lazy import lazy_exports

if TYPE_CHECKING:
    from ._presets import Preset as Preset
    from ._presets import presets as presets
    from .anthropic import AnthropicTransport as AnthropicTransport
    from .echo import EchoTransport as EchoTransport
    from .http import HTTPTransport as HTTPTransport
    from .openai import OpenAITransport as OpenAITransport

_EXPORTS = {
    "AnthropicTransport": ".anthropic",
    "EchoTransport": ".echo",
    "HTTPTransport": ".http",
    "OpenAITransport": ".openai",
    "Preset": "._presets",
    "presets": "._presets",
}

__all__ = ["AnthropicTransport", "EchoTransport", "HTTPTransport", "OpenAITransport", "Preset", "presets"]
__getattr__, __dir__ = lazy_exports(__name__, _EXPORTS)
