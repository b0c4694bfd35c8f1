"""The arguments of a tool, compact while they come: without spaces between tokens, characters as themselves.

    text = CompactJson()
    text.feed('{"city": "Par') + text.feed('is"}') + text.end() == '{"city":"Paris"}'

Anthropic says arguments as an object in an answer of one piece, and as text in the pieces of a stream. Compact both are
the same text, however the stream was cut. What is no JSON passes as it is.
"""

from __future__ import annotations

import re

import msgspec

__all__ = ["CompactJson"]

_OUTSIDE = re.compile(r'[ \t\r\n]+|[-\d][\d.eE+-]*|"|[^"\s\d-]+|.', re.DOTALL)
_HIGH = r"\\u[dD][89abAB][0-9a-fA-F]{2}"
_INSIDE = re.compile(rf'"|[^"\\]+|{_HIGH}\\u[dD][c-fC-F][0-9a-fA-F]{{2}}|\\u[0-9a-fA-F]{{4}}|\\[^u]|\\', re.DOTALL)
_UNFINISHED = re.compile(rf"(?:{_HIGH})?(?:\\(?:u[0-9a-fA-F]{{0,3}})?)?\Z")
_SPACES = " \t\r\n"
_OF_NUMBERS = "-0123456789"


class CompactJson:
    """Reads one JSON text in pieces."""

    __slots__ = ("_held", "_inside")

    def __init__(self) -> None:
        self._inside = False
        self._held = ""

    def feed(self, piece: str) -> str:
        """What can be said after *piece*; a number or an escape at its end waits for what follows."""
        if self._inside and not self._held and '"' not in piece and "\\" not in piece:
            return piece
        text = self._held + piece
        self._held = ""
        found = []
        place = 0
        while place < len(text):
            match = (_INSIDE if self._inside else _OUTSIDE).match(text, place)
            assert match is not None
            token = match.group()
            first = token[0]
            if first == '"':
                self._inside = not self._inside
                found.append(token)
            elif self._inside:
                if first == "\\":
                    if _UNFINISHED.match(text, place):
                        self._held = text[place:]
                        break
                    token = _again(f'"{token}"', token)
                found.append(token)
            elif first in _OF_NUMBERS:
                if match.end() == len(text):
                    self._held = token
                    break
                found.append(_again(token, token))
            elif first not in _SPACES:
                found.append(token)
            place = match.end()
        return "".join(found)

    def end(self) -> str:
        """What was still held back."""
        return self._held if self._inside else _again(self._held, self._held)


def _again(text: str, otherwise: str) -> str:
    """A string's content, or a number, as it is written in compact JSON."""
    try:
        written = msgspec.json.encode(msgspec.json.decode(text)).decode()
    except (msgspec.DecodeError, UnicodeError):
        return otherwise
    return written[1:-1] if text.startswith('"') else written
