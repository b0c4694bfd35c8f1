"""Streams on the Responses wire: server events as events while they come, the whole Response at the end.

Most server events carry one piece of text. `feed_bytes` decodes those straight into a small struct; all others are
decoded in full.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from llamina.errors import LLMError, MalformedResponseError
from llamina.events import Event, Started, TextDelta, fold
from llamina.messages import Usage
from llamina.protocol import Response

from ._openai_errors import error_in_success
from ._responses_answers import answer_of, decode_usage, failed
from ._responses_handlers import HANDLERS
from ._responses_order import ItemsInOrder
from ._responses_parts import WIRE
from ._responses_streamed import StreamedOutput

__all__ = ["StreamDecoder"]


class _PlainText(msgspec.Struct, tag_field="type", tag="response.output_text.delta", gc=False):
    delta: str
    output_index: int = 0
    content_index: int = 0


class _PlainSummary(msgspec.Struct, tag_field="type", tag="response.reasoning_summary_text.delta", gc=False):
    delta: str
    output_index: int
    summary_index: int


class _PlainThought(msgspec.Struct, tag_field="type", tag="response.reasoning_text.delta", gc=False):
    delta: str
    output_index: int
    content_index: int


class _PlainArguments(msgspec.Struct, tag_field="type", tag="response.function_call_arguments.delta", gc=False):
    delta: str
    output_index: int


_LIVES = frozenset({"response.created", "response.in_progress", "response.queued"})
_ENDS = frozenset({"response.completed", "response.incomplete", "response.failed"})
_SILENT = frozenset({*HANDLERS, *_LIVES, *_ENDS})
_plain = msgspec.json.Decoder(_PlainText | _PlainArguments | _PlainSummary | _PlainThought).decode
_whole = msgspec.json.Decoder().decode


class StreamDecoder:
    """Reads one stream.

    Args:
        provider, model: named in errors; secrets: texts that are masked in them.
        request_id: the provider's id of the request, for the Response and for errors.

    The first event is `Started`; it also comes where the provider works without saying content, as while it searches.
    """

    __slots__ = ("_end", "_facts", "_id", "_model", "_order", "_output", "_secrets", "_started", "ended", "usage")

    def __init__(
        self,
        *,
        provider: str | None = None,
        model: str | None = None,
        secrets: tuple[str, ...] = (),
        request_id: str | None = None,
    ) -> None:
        self._facts: dict[str, Any] = {"provider": provider, "model": model, "request_id": request_id}
        self._secrets = secrets
        self._started = False
        self._output = StreamedOutput()
        self._order = ItemsInOrder(self._output)
        self._end: Mapping[str, Any] | None = None
        self._id: str | None = None
        self._model = ""
        self.ended = False
        """Whether the stream said its end."""
        self.usage: Usage | None = None
        """Tokens as the provider said them, which it does at the end only."""

    def feed_bytes(self, payload: bytes) -> list[Event]:
        """The events of one data payload; an empty one is a keep-alive.

        Raises:
            MalformedResponseError: the payload is no event of this wire.
            LLMError: the payload is an error; it is classified.
        """
        if self._started:
            try:
                piece = _plain(payload)
            except msgspec.DecodeError:
                pass
            else:
                if self._end is not None or not piece.delta:
                    return []
                output = self._output
                before = len(output.events)
                if self._order.waits(piece.output_index):
                    return self.feed(_whole(payload))
                if type(piece) is _PlainText:
                    part = output.open
                    if part is not None and part.place == piece.output_index and part.index == piece.content_index:
                        event = TextDelta(piece.delta)
                        part.pieces.append(piece.delta)
                        output.events.append(event)
                        return [event]
                    output.text(piece.output_index, piece.content_index, piece.delta)
                elif type(piece) is _PlainArguments:
                    output.arguments(piece.output_index, piece.delta)
                elif type(piece) is _PlainSummary:
                    output.thought(piece.output_index, ("summary_index", piece.summary_index), piece.delta)
                else:
                    output.thought(piece.output_index, ("content_index", piece.content_index), piece.delta)
                return output.events[before:]
        try:
            return self.feed(_whole(payload))
        except (msgspec.DecodeError, RecursionError):
            if not payload.strip():
                return []
            if payload.strip() == b"[DONE]":  # some servers end every stream so
                return []
            raise self._malformed("one of its payloads is no JSON") from None

    def feed(self, said: Any) -> list[Event]:
        """The events of one server event that is decoded already.

        Raises:
            MalformedResponseError: it is none.
            LLMError: it is an error; it is classified.
        """
        if not isinstance(said, Mapping):
            raise self._malformed(f"one of its events is of type {type(said).__name__}")
        kind = said.get("type")
        if kind == "error" or (not isinstance(kind, str) and said.get("error")):
            failure = said.get("error") or {key: said.get(key) for key in ("code", "message", "param")}
            raise self._failed(failure)
        if not isinstance(kind, str):
            raise self._malformed("one of its events has no type")
        response = said.get("response")
        if kind in _LIVES and isinstance(response, Mapping):
            self._name(response)
        output = self._output
        before = len(output.events)
        try:
            if self._end is not None:
                pass
            elif kind in HANDLERS:
                self._order.feed(said)
            elif kind in _ENDS:
                self._finish(kind, said)
        except (AttributeError, KeyError, TypeError, ValueError):
            raise self._malformed(f"its event {kind!r} has no known form") from None
        new = output.events[before:]
        if not self._started:
            self._started = True
            return [Started(self._id, self._model or None), *new]
        return new or ([Started(self._id, self._model or None)] if kind not in _SILENT else [])

    def _name(self, response: Mapping[str, Any]) -> None:
        name, model = response.get("id"), response.get("model")
        if not self._id and name and isinstance(name, str):
            self._id = name
        if not self._model and isinstance(model, str):
            self._model = model

    def _finish(self, kind: str, said: Mapping[str, Any]) -> None:
        body = said["response"]
        self.usage = decode_usage(body.get("usage")) or self.usage
        if kind == "response.failed" or body.get("error"):
            raise failed(body, partial=self._partial_or_none(), secrets=self._secrets, **self._facts)
        if kind == "response.incomplete" and "status" not in body:
            body = {**body, "status": "incomplete"}
        self._order.flush()
        self._output.finish(body.get("output"))
        self._end = body
        self.ended = True

    def finish(self) -> Response:
        """The whole Response.

        Raises:
            MalformedResponseError: the stream did not say its end, so it was cut; `partial` says how far it came.
        """
        if self._end is None:
            what = "the stream ended before the answer did" if self._started else "the stream ended before it began"
            raise self._error(what)
        return answer_of(self._end, fold(self._output.events), **self._facts)

    @property
    def partial(self) -> Response:
        """The Response as far as it came."""
        if self._end is not None:
            return self.finish()
        output = self._order.whole()
        message, request_id = fold(output.events), self._facts["request_id"]
        return Response(message, self.usage, None, self._model, self._id, None, request_id, wire=WIRE)

    def _partial_or_none(self) -> Response | None:
        return self.partial if self._started else None

    def _malformed(self, why: str) -> MalformedResponseError:
        return self._error(f"the stream is no response: {why}")

    def _error(self, text: str) -> MalformedResponseError:
        return MalformedResponseError(text, usage=self.usage, partial=self._partial_or_none(), **self._facts)

    def _failed(self, failure: Any) -> LLMError:
        return error_in_success(
            failure, usage=self.usage, partial=self._partial_or_none(), secrets=self._secrets, **self._facts
        )
