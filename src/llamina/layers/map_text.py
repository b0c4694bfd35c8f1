"""Rewrite the text of answers, streamed or not, with one function.

    redact = map_text(lambda text: text.replace("secret", "***"))
    build_stack([redact, Retry()], transport)

A function of the whole text can only be applied when the text has ended, so `by="text"` (the default) holds streamed
text back until then. `by="line"` or `by="word"` apply it to each line or word for itself and stream as these end: use
them when the function does not look across lines or words.

The one surprise: with `by="word"` a redactor of "top secret" sees "top " and "secret" apart and finds nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal

from msgspec.structs import replace

from llamina.errors import ConfigurationError, LLMError
from llamina.events import Event, TextDelta
from llamina.protocol import Handler, Middleware, Request, Response
from llamina.sink import Writer

__all__ = ["map_text"]

# Pieces that have ended; what stands after the last of them may still grow.
_ENDED = {"line": re.compile(r"[^\n]*\n"), "word": re.compile(r"\S*\s")}


def map_text(function: Callable[[str], str], *, by: Literal["text", "line", "word"] = "text") -> Middleware:
    """A layer that applies *function* to the text of every answer, and to its events likewise.

    Args:
        function: text to text; it must give the same result for the same text.
        by: what it is applied to, each for itself: the whole "text", each "line" (with its line end), each "word"
            (with one white space after it).

    Raises:
        ConfigurationError: *by* is none of them.
    """
    if by not in ("text", "line", "word"):
        raise ConfigurationError(f'map_text.by must be "text", "line" or "word", got {by!r}')
    pieces = _ENDED.get(by)

    def rewrite(text: str) -> str:
        if pieces is None:
            return function(text)
        done, rest = _rewritten(text, function, pieces)
        return done + function(rest) if rest else done

    def layer(call_next: Handler) -> Handler:
        async def handle(request: Request) -> Response:
            sink = request.sink
            if sink is not None:
                request = replace(request, sink=sink.through(lambda writer: _Rewriting(writer, function, pieces)))
            try:
                response = await call_next(request)
            except LLMError as error:
                if error.partial is not None:
                    error.partial = error.partial.with_text(rewrite(error.partial.text))
                raise
            return response.with_text(rewrite(response.text))

        if getattr(call_next, "records_attempts", False):
            handle.records_attempts = True  # type: ignore[attr-defined]
        return handle

    def explain(_request: Request | None = None) -> str:
        from ._explanations import of_map_text

        return "\n".join(of_map_text(function, by))

    def to_config() -> dict[str, object]:
        return {"type": "map_text", "function": function, **({} if by == "text" else {"by": by})}

    layer.effects = frozenset({"rewrites-answer"})  # type: ignore[attr-defined]
    layer.explain = explain  # type: ignore[attr-defined]
    layer.to_config = to_config  # type: ignore[attr-defined]
    layer.__name__ = f"map_text({getattr(function, '__name__', 'function')})"
    return layer


class _Rewriting(Writer):
    """Holds text back until it can be rewritten; what is left at the end comes from the Response."""

    __slots__ = ("_function", "_inner", "_pieces", "_rest")

    def __init__(self, inner: Writer, function: Callable[[str], str], pieces: re.Pattern[str] | None) -> None:
        super().__init__()
        self._inner = inner
        self._function = function
        self._pieces = pieces
        self._rest = ""

    async def send(self, event: Event) -> None:
        if type(event) is not TextDelta:
            await self._inner.send(event)
            return
        if self._pieces is None:
            return
        done, self._rest = _rewritten(self._rest + event.text, self._function, self._pieces)
        if done:
            await self._inner.send(TextDelta(done))


def _rewritten(text: str, function: Callable[[str], str], pieces: re.Pattern[str]) -> tuple[str, str]:
    """What has ended, rewritten, and what has not."""
    ended = pieces.findall(text)
    return "".join([function(piece) for piece in ended]), text[sum([len(piece) for piece in ended]) :]
