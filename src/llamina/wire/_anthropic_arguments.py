"""The arguments of a tool, compact while they come: without spaces between tokens, characters as themselves.

    text = CompactJson()
    text.feed('{"city": "Par') + text.feed('is"}') + text.end() == '{"city":"Paris"}'

Anthropic says arguments as an object in an answer of one piece, and as text in the pieces of a stream. Compact both are
the same text, however the stream was cut. What begins as no object passes as it is, and so does a space between two
words, which no JSON has.
"""

from __future__ import annotations

import re
from functools import lru_cache

import msgspec

__all__ = ["CompactJson"]

_OUTSIDE = re.compile(r'[ \t\r\n]+|[-\d][\d.eE+-]*|"|[^"\s\d-]+|.', re.DOTALL)
_HIGH = r"\\u[dD][89abAB][0-9a-fA-F]{2}"
# What is written the same in compact JSON: any character, and the escapes that are the shortest for theirs.
_SAME = r'(?:[^"\\]++|\\["\\bfnrt])++'
_INSIDE = re.compile(rf'"|{_SAME}|{_HIGH}\\u[dD][c-fC-F][0-9a-fA-F]{{2}}|\\u[0-9a-fA-F]{{4}}|\\[^u]|\\', re.DOTALL)
_UNFINISHED = re.compile(rf"(?:{_HIGH})?(?:\\(?:u[0-9a-fA-F]{{0,3}})?)?\Z")
_SPACES = " \t\r\n"
_OF_NUMBERS = "-0123456789"
_MARKS = "{}[],:"


class CompactJson:
    """Reads one JSON text in pieces."""

    __slots__ = ("_before", "_held", "_inside", "_is_object", "_space")

    def __init__(self) -> None:
        self._inside = False
        self._held = ""
        self._is_object: bool | None = None  # not known before the first letter
        # The last character of what was said outside of strings, and the space since.
        self._before = ""
        self._space = ""

    def feed(self, piece: str) -> str:
        """What can be said after *piece*; a space, a number or an escape at its end waits for what follows."""
        if self._inside and not self._held and '"' not in piece and "\\" not in piece:
            return piece
        if self._is_object is not True:
            if self._is_object is False:
                return piece
            piece, self._held = self._held + piece, ""
            begin = piece.lstrip(_SPACES)
            if not begin:
                self._held = piece
                return ""
            self._is_object = begin[0] == "{"
            if not self._is_object:
                return piece
            piece = begin
        text = self._held + piece
        self._held = ""
        found: list[str] = []
        place = 0
        while place < len(text):
            match = (_INSIDE if self._inside else _OUTSIDE).match(text, place)
            assert match is not None
            token = match.group()
            first = token[0]
            if self._inside:
                if first == '"':
                    self._inside = False
                elif first == "\\":
                    if _UNFINISHED.match(text, place):
                        self._held = text[place:]
                        break
                    if token[1] not in '"\\bfnrt':
                        token = _escape(token)
                found.append(token)
            elif first in _SPACES:
                self._space += token
            else:
                if first in _OF_NUMBERS:
                    if match.end() == len(text):
                        self._held = token
                        break
                    token = _again(token, token)
                found += self._outside(token)
                self._inside = first == '"'
            place = match.end()
        return "".join(found)

    def _outside(self, token: str) -> list[str]:
        """A token outside of strings, with the space before it where both neighbours are words."""
        space, self._space = self._space, ""
        between = space and self._before not in _MARKS and token[0] not in _MARKS
        self._before = token[-1]
        return [space, token] if between else [token]

    def end(self) -> str:
        """What was still held back."""
        if self._is_object is None:
            return ""
        if self._inside or not self._held:
            return self._held
        return "".join(self._outside(_again(self._held, self._held)))


def _again(text: str, otherwise: str) -> str:
    """A string's content, or a number, as it is written in compact JSON."""
    try:
        written = msgspec.json.encode(msgspec.json.decode(text)).decode()
    except (msgspec.DecodeError, UnicodeError):
        return otherwise
    return written[1:-1] if text.startswith('"') else written


@lru_cache(maxsize=4096)
def _escape(text: str) -> str:
    return _again(f'"{text}"', text)
