"""What the tests of the transports share: every engine, the SDK among them, and an environment without proxies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from llamina.transports import HTTPTransport, OpenAITransport

KEY = "sk-canary-0123456789"


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy of the machine must not stand between a test and its loopback socket."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(params=["httpx", "httpx2", "aiohttp", "openai"])
def transport_to(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """A transport to a server, on each engine in turn that is installed, and on the SDK."""
    pytest.importorskip(request.param)

    def build(server: Any, **settings: Any) -> Any:
        url = server if isinstance(server, str) else server.base_url
        key = settings.pop("api_key", KEY)
        if request.param == "openai":
            return OpenAITransport(key, url, **{"provider": "127.0.0.1", **settings})
        return HTTPTransport(url, key, engine=request.param, **settings)

    return build
