"""Answers of a given shape: ask for JSON of a type, and read the answer as a value of it.

    @dataclass
    class City:
        name: str
        population: int

    asked = Request.chat("small", "The largest city of France?", response_format=json_schema(City))
    city = parse_json(await stack(asked), City)

The one surprise: with strict (the default) the model writes every field, also those that have a default: say
`int | None` for what it may not know.
"""

from __future__ import annotations

import re
from typing import Any, TypeVar

import msgspec

from ._schema import converted, schema_of, strict_form
from .errors import ConfigurationError, MalformedResponseError
from .protocol import Response

__all__ = ["json_schema", "parse_json"]

T = TypeVar("T")

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


def json_schema(type: type[Any], name: str | None = None, *, strict: bool = True) -> dict[str, Any]:  # noqa: A002
    """A `response_format` that asks for JSON of *type*: a dataclass, Struct, TypedDict or attrs class.

    *name* is what the provider calls it, by default the name of the type.

    Raises:
        ConfigurationError: the type is no object or has no JSON schema; strict cannot say it; the name is none that
            providers take.
    """
    said = getattr(type, "__name__", str(type))
    schema = schema_of(type, f"the response format {said}")
    found = re.sub(r"[^a-zA-Z0-9_-]+", "_", said)[:64] if name is None else name
    if not isinstance(found, str) or not _NAME.fullmatch(found):
        raise ConfigurationError(
            f"the name of a response format must be 1 to 64 letters, digits, _ or -, got {found!r}; "
            "give it one: json_schema(type, name='...')"
        )
    if strict:
        schema = strict_form(schema, f"the response format {said}")
    return {"type": "json_schema", "json_schema": {"name": found, "schema": schema, "strict": strict}}


def parse_json(response: Response, type: type[T]) -> T:  # noqa: A002
    """The text of *response*, which is JSON, as a value of *type*; a text of digits is good for a number.

    Raises:
        MalformedResponseError: it is no JSON or does not fit the type; `error.partial` is the response, with its text.
    """
    try:
        found: T = converted(msgspec.json.decode(response.text), type)
    except (ValueError, RecursionError) as error:
        said = getattr(type, "__name__", str(type))
        why = "" if response.finish_reason in (None, "stop") else f"; it ended with {response.finish_reason!r}"
        text = f"the answer is no JSON of {said}: {error}{why}; `error.partial.text` is what the model wrote"
        raise MalformedResponseError(text, model=response.model or None, partial=response) from error
    return found
