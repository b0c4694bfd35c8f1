"""Which requests may share one answer, and under which key: what Cache and Dedup have in common.

Two requests share when their identities and the tags that the layer is scoped by are equal. The tag `tenant` always
scopes: sharing across tenants would have to be asked for by giving them the same tag.

The one surprise: a request that leaves something behind at the provider (`store=True`, `background=True`) never shares.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from llamina.errors import ConfigurationError
from llamina.protocol import Request

__all__ = ["Key", "leaves_traces", "scope_names", "sharing_key"]

Key: TypeAlias = str | tuple[str | None, ...]

_TENANT = "tenant"


def leaves_traces(request: Request) -> bool:
    """Whether doing it leaves something behind at the provider: then each caller wants it done for himself."""
    params = request.params
    return params.get("store") is True or params.get("background") is True


def scope_names(owner: str, value: Any) -> tuple[str, ...]:
    """The names of tags that were given as *owner*'s `scope=`, without doubles."""
    names = (value,) if isinstance(value, str) or not isinstance(value, Iterable) else tuple(value)
    for name in names:
        if not isinstance(name, str) or not name:
            raise ConfigurationError(
                f'{owner}.scope must hold names of tags, got {name!r}; write scope=("user",) or leave it out'
            )
    return tuple(dict.fromkeys(names))


def sharing_key(scope: tuple[str, ...]) -> Callable[[Request], Key]:
    """A function from a request to its key: the identity alone, or a tuple of it and the values of the scoping tags."""
    names = tuple(dict.fromkeys((_TENANT, *scope)))
    if names == (_TENANT,):

        def key_of(request: Request) -> Key:
            tenant = request.tags.get(_TENANT)
            return request.identity if tenant is None else (request.identity, tenant)
    else:
        nothing = [None] * len(names)

        def key_of(request: Request) -> Key:
            get = request.tags.get
            values = [get(name) for name in names]
            return request.identity if values == nothing else (request.identity, *values)

    return key_of
