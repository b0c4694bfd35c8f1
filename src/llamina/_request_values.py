"""What a request is made of, checked and frozen: messages, parameters, tools, tags, headers.

    checked_headers({"Anthropic-Beta": "files-1"})     # {"anthropic-beta": "files-1"}, or an InvalidRequestError

Everything is checked where it enters, so that nothing below has to: a line break in a header, a tag that is no text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

from .errors import InvalidRequestError
from .messages import Message, Text
from .secret import names_credential

__all__ = ["FrozenDict", "checked_headers", "checked_tags", "messages_of", "plain_tools"]


class FrozenDict(dict[str, Any]):
    """A dict that refuses changes: parameters and tags belong to a value."""

    __slots__ = ()

    def _refuse(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        raise TypeError(
            "a Request is a value; make a changed copy with request.evolve(...) or request.with_params(...)"
        )

    __setitem__ = __delitem__ = clear = pop = popitem = setdefault = update = __ior__ = _refuse

    def __reduce__(self) -> Any:
        return (FrozenDict, (dict(self),))

    def __copy__(self) -> FrozenDict:
        return self

    def __deepcopy__(self, _memo: Any) -> dict[str, Any]:
        import copy

        return FrozenDict({key: copy.deepcopy(value) for key, value in self.items()})


NO_TAGS: Mapping[str, str] = FrozenDict()


def checked_tags(tags: Mapping[str, str] | None) -> Mapping[str, str]:
    if not tags:
        return NO_TAGS
    if not isinstance(tags, Mapping):
        raise InvalidRequestError(f'tags must map strings to strings, like {{"user": "ada"}}; got {tags!r}')
    for key, value in tags.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise InvalidRequestError(f"tags must map strings to strings, got {key!r}: {value!r}")
    return FrozenDict(tags)


NO_HEADERS: Mapping[str, str] = FrozenDict()
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_NOT_THE_CALLERS = frozenset({"connection", "content-length", "content-type", "host", "transfer-encoding"})


def checked_headers(headers: Mapping[str, str] | None) -> Mapping[str, str]:
    """Headers with names in lower case; a line break in one would be a header of somebody else's making (RFC 9110, 5.5)."""
    if not headers:
        return NO_HEADERS
    if not isinstance(headers, Mapping):
        raise InvalidRequestError(f"headers must map names to values, got {type(headers).__name__}")
    for name, value in headers.items():
        if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name):
            raise InvalidRequestError(f"headers must have names of letters, digits and '-', got {name!r}")
        if name.lower() in _NOT_THE_CALLERS or names_credential(name):
            raise InvalidRequestError(f"headers may not set {name!r}; the transport does: pass it there")
        if not isinstance(value, str) or not _HEADER_VALUE.fullmatch(value):
            raise InvalidRequestError(f"headers[{name!r}] must be Latin-1 text without control characters; encode it")
    return FrozenDict({name.lower(): value for name, value in headers.items()})


def messages_of(prompt: Any) -> tuple[Message, ...]:
    if type(prompt) is str:
        return (Message("user", (Text(prompt),)),)
    if isinstance(prompt, Message | Mapping):
        return (Message.of(prompt),)
    if not isinstance(prompt, Iterable):
        raise InvalidRequestError(f"messages must be text or a list of messages, got {type(prompt).__name__}")
    return tuple([Message.of(item) for item in prompt])


def plain_tools(tools: Any) -> Any:
    """Tools as plain data: what has a `definition` (see `llamina.tools`) is replaced by it."""
    if not isinstance(tools, list | tuple):
        if not hasattr(tools, "definition"):
            return tools  # an odd form is the provider's to refuse
        tools = (tools,)
    for place, tool in enumerate(tools):
        if callable(tool) and not hasattr(tool, "definition"):
            name = getattr(tool, "__name__", type(tool).__name__)
            raise InvalidRequestError(
                f"tools[{place}] is {name!r}, which is no tool; put @tool (llamina.tools) above it"
            )
    return [getattr(tool, "definition", tool) for tool in tools]
