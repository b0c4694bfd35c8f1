"""Tags of the calls that come through a door: from the code around the call, or from a header of the request.

    with llamina.doors.tags(user="ada", project="search"):
        client.chat.completions.create(...)

    client.chat.completions.create(..., extra_headers={"x-llamina-tags": "user=ada, project=search"})

The one surprise: the header is not sent on; the provider never sees a tag.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from types import MappingProxyType
from urllib.parse import unquote

from llamina.errors import InvalidRequestError

__all__ = ["TAGS_HEADER", "tags", "tags_of"]

TAGS_HEADER = "x-llamina-tags"

_current: ContextVar[Mapping[str, str]] = ContextVar("llamina_door_tags", default=MappingProxyType({}))


@contextlib.contextmanager
def tags(**values: str) -> Iterator[None]:
    """Give the calls that the code inside makes through a door these tags; an inner block adds to an outer one.

    Raises:
        TypeError: a value is no string.
    """
    for name, value in values.items():
        if not isinstance(value, str):
            raise TypeError(f"the tag {name!r} must be a string, got {type(value).__name__}")
    token = _current.set({**_current.get(), **values})
    try:
        yield
    finally:
        _current.reset(token)


def tags_of(headers: Mapping[str, str]) -> Mapping[str, str]:
    """The tags of one request: those of the code around it, then those of its header.

    Raises:
        InvalidRequestError: the header is not of the form `name=value, name=value`.
    """
    text = headers.get(TAGS_HEADER)
    if text is None:
        return _current.get()
    found = dict(_current.get())
    for pair in text.split(","):
        name, equals, value = pair.strip().partition("=")
        if not name or not equals:
            raise InvalidRequestError(
                f"the header {TAGS_HEADER} must be like 'user=ada, project=search' (percent-encoded), got {text!r}"
            )
        found[unquote(name.strip())] = unquote(value.strip())
    return found
