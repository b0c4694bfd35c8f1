"""Arguments of tools while they come: compact where they are JSON, else as the model wrote them."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamina.wire import _anthropic_arguments
from llamina.wire._anthropic_arguments import CompactJson

LEAVES = st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False)
TEXTS = st.text(max_size=5) | st.text('"\\/\b\n\t\x01é😀', max_size=5)
VALUES = st.recursive(LEAVES | TEXTS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner))


def read(text: str, size: int | None = None) -> str:
    """*text*, fed in pieces of *size* characters."""
    size = size or len(text) or 1
    compact = CompactJson()
    return "".join([compact.feed(text[at : at + size]) for at in range(0, len(text), size)]) + compact.end()


@given(st.dictionaries(TEXTS, VALUES, max_size=3), st.booleans(), st.sampled_from([None, 2]), st.integers(1, 9))
def test_json_is_compact_however_it_is_cut(value: Any, ascii_only: object, indent: int | None, size: int) -> None:
    """As the object of an answer of one piece is written."""
    text = json.dumps(value, ensure_ascii=bool(ascii_only), indent=indent)

    assert read(text, size) == msgspec.json.encode(msgspec.json.decode(text)).decode()


@pytest.mark.parametrize("text", ["ls -l", "say: hello, you", "[1, 2]", '"a b"', " x  y ", "{ls -l}", '{"a":tru e}'])
@pytest.mark.parametrize("size", [None, 1, 2])
def test_what_is_no_object_stays_as_it_came(text: str, size: int | None) -> None:
    """The error of whoever asks for its parsed form shows what the model wrote."""
    assert read(text, size) == text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"a": tru e}', '{"a":tru e}'),
        ('{"a": 1  2}', '{"a":1  2}'),
        ('{"a"  "b" }', '{"a"  "b"}'),
        ('{"a": "x\\', '{"a":"x\\'),
        ("  ", ""),
    ],
)
def test_words_that_no_json_has_side_by_side_stay_apart(text: str, said: str) -> None:
    """Bad JSON does not become good by being read."""
    assert {read(text, size) for size in (None, 1, 2, 3)} == {said}


def test_short_escapes_are_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are written so in compact JSON too; a long text has many."""
    decoded: list[str] = []
    monkeypatch.setattr(_anthropic_arguments, "_escape", lambda text: decoded.append(text) or text)

    said = read('{"a": "1\\n\\"2\\\\\\t3\\b\\f\\r\\u00e9"}')

    assert said == '{"a":"1\\n\\"2\\\\\\t3\\b\\f\\r\\u00e9"}'
    assert decoded == ["\\u00e9"]
