"""What stands in a cassette: plain data without secrets, as JSON that people read and that diffs well.

    written_request(request, clean)      # {"kind": "chat", "model": "m", "messages": [...]}
    as_text({...})                       # sorted keys, an event a line, a vector a line

What names a credential (a header, a parameter, a field of JSON in a text) is shown as a short id, as a `Secret` shows
itself; so is what looks like a key wherever it stands, and what a URL says of who asks. Bytes of a request (images,
documents) stand as their digest: they are compared, never sent again.

The one surprise: a text that is cleaned after it was streamed is cleaned as a whole and then cut where it was cut: a
secret that came in two pieces is found all the same.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec.structs import replace

from llamina.errors import ConfigurationError
from llamina.events import Event, ReasoningDelta, TextDelta, ToolCallDelta
from llamina.identity import IRRELEVANT, IRRELEVANT_HEADERS
from llamina.protocol import Request, Response
from llamina.secret import Secret, names_credential

__all__ = ["Clean", "as_text", "cleaner", "written_events", "written_request", "written_response", "written_value"]

Clean = Callable[[str], str]

_WIDTH = 110
_LONGEST_DATA_URL = 200

_KEY = re.compile(
    # JSON in a text writes the end of a line as a letter with a backslash, which begins no word.
    r"(?:\b|(?<=\\[nrt]))(?:"
    r"(?:sk|pk|rk|csk|gsk|xai|hf|pplx|nvapi|glpat|gh[opsu]|github_pat|xox[abps])[-_](?=[\w-]{0,200}\d)[\w-]{16,}"
    r"|AIza[\w-]{30,}|AKIA[0-9A-Z]{16}|eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]{5,}"
    r"|(?<=[Bb]earer )(?=\S{0,200}\d)[\w.~+/=-]{16,}|(?<=[Bb]asic )(?=\S{0,200}[\d=])[\w+/-]{8,}={0,2})"
    r"|(?<=PRIVATE KEY-----)(?s:.{1,9999}?)(?=-----END)"
)
_IN_URL = re.compile(r"(?<=://)[^/?#\s\"'<>]+(?=@)|(?<=[?&#])([^=&#?\s]{1,80})=([^&#\s\"'<>)]+)")
_SHOWN = re.compile(r"(?:[A-Za-z]{2,4}[-_])?…[0-9a-f]{4}")
_SIGNATURE = frozenset({"sig", "signature", "x-amz-signature", "x-goog-signature"})

# Names that can only be those of a credential: an answer has harmless ones with "key" and "token" in them.
_SURE = r"authorization|api[-_]?key|passw|credential|secret|cookie|(?:access|auth|refresh|security|session)[-_]?token"
_SURELY_NAMES_ONE = re.compile(_SURE, re.IGNORECASE)
_IN_JSON = re.compile(
    rf"""((\\{{0,8}}["'])[\w-]{{0,40}}(?:{_SURE})[\w-]{{0,40}}\2\s*:\s*(\\{{0,8}}["']))((?:(?!\3)(?:\\.|[^\\\n]))+)""",
    re.IGNORECASE,
)

# Words of ours that say what a value is: no text of anybody's, unless it stands in data of somebody else.
_STRUCTURE = frozenset(
    {"type", "role", "kind", "model", "class", "provider", "wire", "media_type", "finish_reason", "raw_finish_reason"}
)
_OF_OTHERS = frozenset({"params", "headers", "raw", "extra", "details"})


def cleaner(redact: Clean | None) -> Clean:
    """A function that takes secrets out of a text, and what *redact* takes out first."""

    def clean(text: str) -> str:
        if redact is not None:
            found: Any = redact(text)
            if not isinstance(found, str):
                raise ConfigurationError(f"Recorder.redact must give text for text, got {type(found).__name__}")
            text = found
        text = _IN_URL.sub(_in_url, text)
        text = _IN_JSON.sub(lambda match: match[1] + _shown(match[4]), text)
        return _without_keys(text)

    return clean


def _without_keys(text: str) -> str:
    return _KEY.sub(lambda match: _shown(match[0]), text)


def _shown(value: str) -> str:
    """The short id of a secret: two keys can be told apart, and neither can be used."""
    return Secret(value).id if value and not _SHOWN.fullmatch(value) else value


def _in_url(match: re.Match[str]) -> str:
    name, value = match[1], match[2]
    if name is None:
        return _shown(match[0])
    return f"{name}={_shown(value)}" if _names_secret(name) or name.lower() in _SIGNATURE else match[0]


def _names_secret(name: str) -> bool:
    return names_credential(name) or bool(_SURELY_NAMES_ONE.search(name)) or name.lower() == "pwd"


def written_request(request: Request, clean: Clean) -> dict[str, Any]:
    """What is asked, without what does not count for the identity."""
    params = {key: value for key, value in request.params.items() if key not in IRRELEVANT}
    headers = {key: value for key, value in request.headers.items() if key not in IRRELEVANT_HEADERS}
    asked: dict[str, Any] = {"kind": request.kind, "model": request.model, "messages": request.messages}
    asked |= {name: value for name, value in (("params", params), ("headers", headers)) if value}
    written: dict[str, Any] = _cleaned(_plain(asked), clean, of_request=True)
    return written


def written_response(response: Response, clean: Clean) -> Any:
    """A complete answer, without the call that it belongs to."""
    return written_value(replace(response, _call=None), clean)


def written_value(value: Any, clean: Clean) -> Any:
    """Anything that came back."""
    return _cleaned(_plain(value), clean)


def written_events(events: list[Event], clean: Clean) -> list[dict[str, Any]]:
    """The pieces of a stream, cut as they were."""
    recut = _recut(events, clean)
    written = [_cleaned(_plain(event), clean) for event in events]
    for place, pieces in recut.items():
        written[place] |= pieces
    return written


def _plain(value: Any) -> Any:
    return msgspec.to_builtins(
        value,
        builtin_types=(bytes, bytearray, memoryview),
        order="deterministic",
        enc_hook=str,  # a Secret is its id
    )


def _cleaned(
    value: Any, clean: Clean, *, of_request: bool = False, of_others: bool = False, secret: bool = False
) -> Any:
    if isinstance(value, str):
        if of_request and value.startswith("data:") and len(value) > _LONGEST_DATA_URL:
            return _digest(value.encode("utf-8", "surrogatepass"))
        return _shown(value) if secret else clean(value)
    if isinstance(value, dict):
        hides = _names_secret if of_request else _SURELY_NAMES_ONE.search
        return {
            _without_keys(str(name)): item
            if name in _STRUCTURE and isinstance(item, str) and not of_others
            else _cleaned(
                item,
                clean,
                of_request=of_request,
                of_others=of_others or name in _OF_OTHERS,
                secret=secret or bool(hides(str(name))),
            )
            for name, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_cleaned(item, clean, of_request=of_request, of_others=of_others, secret=secret) for item in value]
    if isinstance(value, bytes | bytearray | memoryview):
        data = bytes(value)
        return _digest(data) if of_request else base64.b64encode(data).decode()
    return value


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()} ({len(data)} bytes)"


def _recut(events: list[Event], clean: Clean) -> dict[int, dict[str, str]]:
    """By its place, each piece of a text as it is after the whole text was cleaned."""
    changed: dict[int, dict[str, str]] = {}
    for name, places in _runs(events):
        pieces = [getattr(events[place], name) for place in places]
        text = "".join(pieces)
        rest = clean(text)
        share = len(rest) / max(1, len(text))
        begins, ends = 0, 0
        for place, piece in zip(places, pieces, strict=True):
            ends += len(piece)
            cut = len(rest) if place == places[-1] else round(ends * share)
            changed[place] = {name: rest[begins:cut]}
            begins = cut
    return changed


def _runs(events: list[Event]) -> list[tuple[str, list[int]]]:
    """The places of the events that make one text each: of a part, of a block of reasoning, of a call's arguments."""
    runs: list[tuple[str, list[int]]] = []
    calls: dict[int, list[int]] = {}
    before: Event | None = None
    for place, event in enumerate(events):
        if isinstance(event, ToolCallDelta):
            if event.index in calls:
                calls[event.index].append(place)
                continue  # it ends no text that came meanwhile, as in `fold`
            calls[event.index] = [place]
            runs.append(("arguments", calls[event.index]))
        elif isinstance(event, TextDelta | ReasoningDelta):
            goes_on = type(before) is type(event) and not event.new and before.raw is None
            if not goes_on:
                runs.append(("text" if isinstance(event, TextDelta) else "reasoning", []))
            runs[-1][1].append(place)
        if event.content:
            before = event
    return runs


def as_text(value: Any, indent: str = "") -> str:
    """*value* as JSON with sorted keys; what fits stands on one line, as does a list of numbers.

    Raises:
        ValueError: it holds a NaN or an infinity, which JSON cannot say.
    """
    flat = json.dumps(value, ensure_ascii=False, sort_keys=True, allow_nan=False)
    if not isinstance(value, dict | list) or len(indent) + len(flat) <= _WIDTH:
        return flat
    if isinstance(value, list) and all([isinstance(item, int | float) for item in value]):
        return flat
    deeper = indent + "  "
    if isinstance(value, dict):
        rows = [
            f"{deeper}{json.dumps(key, ensure_ascii=False)}: {as_text(value[key], deeper)}" for key in sorted(value)
        ]
        return "{\n" + ",\n".join(rows) + f"\n{indent}}}"
    return "[\n" + ",\n".join([deeper + as_text(item, deeper) for item in value]) + f"\n{indent}]"
