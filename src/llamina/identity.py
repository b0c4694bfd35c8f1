"""One digest that Cache, Dedup, cassettes and logs share: equal requests have equal identities, in every process.

    request.identity                  # "9f2c..." (64 hex digits)
    explain_identity(one, other)      # ["params.temperature"]: the fields that differ

Deny by default: every field and every unknown parameter counts, except those in `IRRELEVANT`. The order of dict keys
never counts; 1, 1.0 and True differ; a NaN or an infinity is refused, since it equals nothing and no provider takes it.
The digest is SHA-256 over canonical MessagePack, whose types keep apart what JSON merges (bytes and text).

The one surprise: the tenant is not part of it. It scopes caches and flights, so that the same question of two tenants
can still be seen to be the same question.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import Any

import msgspec

from .errors import InvalidRequestError

__all__ = ["IRRELEVANT", "IRRELEVANT_HEADERS", "SCHEME", "differences", "digest"]

SCHEME = 1
"""Version of the scheme; it is part of every digest."""

IRRELEVANT = frozenset({"stream", "stream_options"})
"""Parameters that cannot change the answer: whether a caller streams is said by the sink."""

IRRELEVANT_HEADERS = frozenset(
    {"baggage", "idempotency-key", "traceparent", "tracestate", "x-client-request-id", "x-request-id"}
)
"""Headers that name one sending of a request, not what is asked (W3C Trace Context, and the providers' request ids)."""

_EXPONENTS = (b"\x7f", b"\xff")
_encode = msgspec.msgpack.Encoder(order="sorted").encode
_sha256 = hashlib.sha256


def digest(
    kind: str, model: str, messages: Any, params: Mapping[str, Any], headers: Mapping[str, str] | None = None
) -> str:
    """The digest of what a request asks: 64 hex digits.

    Raises:
        InvalidRequestError: a value has no canonical form (NaN, a key that is no string, an object of no known type);
            the message names its place.
    """
    try:
        asked = (SCHEME, kind, model, messages, params)
        data = _encode((*asked, headers) if headers else asked)
    except (OverflowError, UnicodeEncodeError, TypeError):
        checked = _checked(kind, model, messages, params)
        data = _encode((*checked, headers) if headers else checked)
    # 0xcb introduces a float; an exponent of all ones is a NaN or an infinity. The bytes may also stand in a text,
    # so a match only sends the value down the slow path, which decides. (A search for one byte is a memchr, a
    # search for two is sixty times slower.)
    place = data.find(b"\xcb") if b"\xcb" in data else -1
    while place >= 0:
        if data[place + 1 : place + 2] in _EXPONENTS:
            _checked(kind, model, messages, params)
            break
        place = data.find(b"\xcb", place + 1)
    return _sha256(data).hexdigest()


def _checked(kind: str, model: str, messages: Any, params: Any) -> Any:
    return (SCHEME, kind, _canonical(model, "model"), _canonical(messages, "messages"), _canonical(params, "params"))


def _canonical(value: Any, place: str) -> Any:
    """The value with what MessagePack cannot say put in extension types; refuses what has no canonical form."""
    kind = type(value)
    if kind is float:
        if not math.isfinite(value):
            raise InvalidRequestError(f"{place or 'value'} is {value}, which equals nothing and no provider accepts")
        return value
    if kind is int:
        return value if -(2**63) <= value < 2**64 else msgspec.msgpack.Ext(1, str(value).encode())
    if kind is str:
        try:
            value.encode()
        except UnicodeEncodeError:
            return msgspec.msgpack.Ext(2, value.encode("utf-8", "surrogatepass"))
        return value
    if isinstance(value, msgspec.Struct):
        named = {name: getattr(value, name) for name in value.__struct_fields__}
        return [kind.__name__, _canonical({k: v for k, v in named.items() if v is not None}, place)]
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise InvalidRequestError(f"{place or 'value'} has the key {key!r}; keys must be strings")
        return {
            _canonical_key(key): _canonical(item, f"{place}.{key}" if place else key) for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_canonical(item, f"{place}[{index}]") for index, item in enumerate(value)]
    try:
        _encode(value)
    except (TypeError, OverflowError, UnicodeEncodeError) as error:
        raise InvalidRequestError(
            f"{place or 'value'} is a {kind.__name__}, which cannot be part of a request; pass plain data"
        ) from error
    return value


def _canonical_key(key: str) -> str:
    try:
        key.encode()
    except UnicodeEncodeError:
        return "\x00" + key.encode("utf-8", "surrogatepass").hex()
    return key


def differences(one: Any, other: Any, place: str) -> list[str]:
    """The places at which two values differ, for people: `messages[1].parts[0].text`."""
    if isinstance(one, msgspec.Struct) and type(one) is type(other):
        return [
            found
            for name in one.__struct_fields__
            for found in differences(getattr(one, name), getattr(other, name), f"{place}.{name}")
        ]
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return [
            found
            for key in sorted({*one, *other}, key=str)
            for found in (
                differences(one[key], other[key], f"{place}.{key}")
                if key in one and key in other
                else [f"{place}.{key}"]
            )
        ]
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        if len(one) != len(other):
            return [f"{place} ({len(one)} and {len(other)} entries)"]
        return [
            found
            for index, (mine, theirs) in enumerate(zip(one, other, strict=True))
            for found in differences(mine, theirs, f"{place}[{index}]")
        ]
    try:
        return [] if _encode(one) == _encode(other) else [place]
    except (TypeError, OverflowError, UnicodeEncodeError):
        return [] if _canonical(one, place) == _canonical(other, place) else [place]
