"""Terminals: what answers at the end of a stack.

    from llamina.transports import EchoTransport, HTTPTransport

    build_stack([...], EchoTransport())                              # no network, no key
    build_stack([...], HTTPTransport(provider="groq"))               # any OpenAI-compatible server

The one surprise: naming a transport loads its module, not its HTTP client; the client is loaded by the first call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from llamina._lazy import lazy_exports

if TYPE_CHECKING:
    from ._presets import Preset as Preset
    from ._presets import presets as presets
    from .echo import EchoTransport as EchoTransport
    from .http import HTTPTransport as HTTPTransport

_EXPORTS = {
    "EchoTransport": ".echo",
    "HTTPTransport": ".http",
    "Preset": "._presets",
    "presets": "._presets",
}

__all__ = ["EchoTransport", "HTTPTransport", "Preset", "presets"]
__getattr__, __dir__ = lazy_exports(__name__, _EXPORTS)
