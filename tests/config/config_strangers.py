"""Layers, transports and functions as other people write them; stack files of the tests name them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any, Literal

import attr
from attrs import frozen

from llamina import Handler, Middleware, Request, Response, middleware
from llamina.secret import Secret
from llamina.transports import EchoTransport


class Colour(Enum):
    """Something to choose from."""

    RED = "red"
    BLUE = "blue"


@frozen
class Window:
    """A setting that has settings."""

    seconds: float = 60.0
    names: tuple[str, ...] = ()


@frozen(eq=False)
class Limit:
    """A layer that is an attrs class."""

    limit: int
    window: Window = Window()
    colour: Colour = Colour.RED
    api_key: str = ""

    def __call__(self, call_next: Handler) -> Handler:
        """Pass on."""
        return call_next


@dataclass
class Greeter:
    """A layer that is a dataclass."""

    greeting: str = "hello"
    times: list[int] = field(default_factory=list)

    def __call__(self, call_next: Handler) -> Handler:
        """Pass on."""
        return call_next


class Plain:
    """A layer that is a class like any other."""

    def __init__(self, seconds: float, anything=None, *, on: bool = True, **more: Any) -> None:
        if seconds > 99:
            raise RuntimeError("too patient")
        self.given = (seconds, anything, on, more)

    def __call__(self, call_next: Handler) -> Handler:
        """Pass on."""
        return call_next


class Leaver:
    """A class that ends the process when it dislikes its settings."""

    def __init__(self, seconds: int) -> None:
        raise SystemExit("not today")


class Signing:
    """A layer that tells its secret under names that do not say so."""

    def __init__(self, signing_key: str) -> None:
        self.signing_key = signing_key

    def __call__(self, call_next: Handler) -> Handler:
        """Pass on."""
        return call_next

    def to_config(self) -> dict[str, Any]:
        """Its settings."""
        return {"signing_key": self.signing_key, "used": [self.signing_key], "url": f"https://h/?k={self.signing_key}"}


@frozen(eq=False)
class Ring:
    """A layer with several secrets."""

    keys: tuple[Secret, ...] = ()

    def __call__(self, call_next: Handler) -> Handler:
        """Pass on."""
        return call_next


class Keyed:
    """A layer with a secret."""

    def __init__(self, token: Secret, api_key: str, blob: Secret | None = None) -> None:
        if api_key.startswith("bad"):
            raise ValueError(f"what is {api_key}?")
        self.token, self.api_key = token, api_key

    def __call__(self, call_next: Handler) -> Handler:
        """Pass on."""
        return call_next


class Told:
    """A layer that says itself what it is."""

    def __init__(self, words: list[str], token: str = "") -> None:
        self.words, self.token = words, token

    def __call__(self, call_next: Handler) -> Handler:
        """Pass on."""
        return call_next

    def to_config(self) -> dict[str, Any]:
        """Its settings."""
        return {"words": self.words, "token": self.token}


@frozen(eq=False)
class Backup:
    """A layer that has another transport, and a layer of its own."""

    instead: Handler
    around: Middleware | None = None

    def __call__(self, call_next: Handler) -> Handler:
        """Pass on."""
        return call_next


@dataclass
class Typed:
    """A layer with settings of many types."""

    amount: Decimal = Decimal(0)
    path: Path = Path("a")
    names: set[str] = field(default_factory=set)
    table: dict[str, int] = field(default_factory=dict)
    day: date | None = None
    choice: Literal["a", "b", 3] = "a"
    maybe: bool | None = None
    windows: list[Window] = field(default_factory=list)
    pair: tuple[int, str] = (0, "")
    error: type[Exception] | None = None
    call: Callable[[str], str] | None = None
    unheard: NoSuchType | None = None  # type: ignore[name-defined]  # noqa: F821

    def __call__(self, call_next: Handler) -> Handler:
        """Pass on."""
        return call_next


@attr.s
class Older:
    """A layer as attrs classes were written before annotations."""

    seconds = attr.ib(default=1.0, type=float)
    free = attr.ib(default=None)

    def __call__(self, call_next: Handler) -> Handler:
        """Pass on."""
        return call_next


@frozen(eq=False)
class Needy(Older):
    """A layer that cannot do without a secret."""

    password: str = attr.ib(kw_only=True)


class Instance:
    """A layer of which an object stands in the module."""

    def __call__(self, following: Handler) -> Handler:
        """Pass on."""
        return following


def stamped(label: str, count: int = 1) -> Callable[[Handler], Handler]:
    """A function that makes a layer."""

    def layer(call_next: Handler) -> Handler:
        return call_next

    layer.made_of = (label, count)  # type: ignore[attr-defined]
    return layer


@middleware
async def as_it_stands(request: Request, call_next: Handler) -> Response:
    """A layer without settings."""
    return await call_next(request)


READY = Limit(3)
OBJECT = Instance()
PARTIAL = functools.partial(stamped, "from a partial")
ECHO = EchoTransport(provider="from a module")
WORDS = "no function"


async def answer(request: Request) -> Response:
    """A transport without settings."""
    return Response.of("from a function")


def shout(text: str) -> str:
    """A function for settings that take one."""
    return text.upper()


def worth_it(error: BaseException) -> bool:
    """A decision about errors."""
    return isinstance(error, TimeoutError)
