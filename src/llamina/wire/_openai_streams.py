"""Streams on the chat-completions wire: chunks as events while they come, the whole Response at the end.

Most chunks carry one piece of text and nothing new. `feed_bytes` decodes those straight into a small struct that knows
their form exactly; a chunk of any other form, or with a field that the struct does not know, is decoded in full.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from llamina.errors import LLMError, MalformedResponseError
from llamina.events import Event, Started, fold
from llamina.messages import Usage
from llamina.protocol import Response

from ._openai_answers import decode_usage, encode_answer, unified
from ._openai_choice import StreamedChoice
from ._openai_errors import error_in_success
from ._openai_parts import WIRE

__all__ = ["StreamDecoder"]


class _PlainFunction(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    arguments: str
    name: str | None = None


class _PlainCall(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    index: int
    function: _PlainFunction
    id: str | None = None
    type: str | None = None


class _PlainDelta(msgspec.Struct, forbid_unknown_fields=True):
    content: str | None = None
    role: str | None = None
    refusal: None = None
    tool_calls: tuple[_PlainCall] | None = None
    function_call: None = None
    reasoning_content: str | None = None
    reasoning: str | None = None


class _PlainChoice(msgspec.Struct, forbid_unknown_fields=True):
    delta: _PlainDelta
    index: int = 0
    finish_reason: None = None
    logprobs: None = None
    native_finish_reason: None = None


class _PlainChunk(msgspec.Struct, forbid_unknown_fields=True):
    """A chunk in the middle of a stream; what it repeats of the first one is not looked at."""

    choices: tuple[_PlainChoice]
    id: Any = None
    object: Any = None
    created: Any = None
    model: Any = None
    system_fingerprint: Any = None
    service_tier: Any = None
    provider: Any = None
    obfuscation: Any = None
    usage: None = None


_plain = msgspec.json.Decoder(_PlainChunk).decode
_whole = msgspec.json.Decoder().decode
_NAMED = frozenset({"id", "model", "choices", "usage", "object", "error", "obfuscation"})


class StreamDecoder:
    """Reads one stream.

    Args:
        provider, model: named in errors; secrets: texts that are masked in them.
        request_id: the provider's id of the request, for the Response and for errors.

    The first event is `Started`. Events are those of the first choice; further ones (`n` above 1) are whole in
    `response.extra["choices"]`.
    """

    __slots__ = (
        "_choices",
        "_extra",
        "_facts",
        "_first",
        "_id",
        "_model",
        "_request_id",
        "_secrets",
        "_started",
        "ended",
        "usage",
    )

    def __init__(
        self,
        *,
        provider: str | None = None,
        model: str | None = None,
        secrets: tuple[str, ...] = (),
        request_id: str | None = None,
    ) -> None:
        self._facts: dict[str, Any] = {"provider": provider, "model": model}
        self._secrets = secrets
        self._request_id = request_id
        self._started = False
        self._first = StreamedChoice()
        self._choices = {0: self._first}
        self._extra: dict[str, Any] = {}
        self._id: str | None = None
        self._model = ""
        self.ended = False
        """Whether the stream said `[DONE]`."""
        self.usage: Usage | None = None
        """Tokens as the provider last said them: counts in a stream are cumulative, never summed."""

    def feed_bytes(self, payload: bytes) -> list[Event]:
        """The events of one data payload; an empty one is a keep-alive, `[DONE]` ends the stream.

        Raises:
            MalformedResponseError: the payload is no chunk.
            LLMError: the payload is an error; it is classified.
        """
        if self._started:
            try:
                choice = _plain(payload).choices[0]
            except msgspec.DecodeError:
                pass
            else:
                event = self._first.plain(choice) if choice.index == 0 else None
                if event is not None:
                    return [event]
        try:
            return self.feed(_whole(payload))
        except (msgspec.DecodeError, RecursionError):
            # Checked only here, where nothing is hot.
            if payload.strip() == b"[DONE]":
                self.done()
                return []
            if not payload.strip():
                return []
            raise self._malformed("one of its payloads is no JSON") from None

    def feed(self, chunk: Any) -> list[Event]:
        """The events of one chunk that is decoded already.

        Raises:
            MalformedResponseError: it is no chunk.
            LLMError: it is an error; it is classified.
        """
        if not isinstance(chunk, Mapping):
            raise self._malformed(f"one of its chunks is of type {type(chunk).__name__}")
        usage = decode_usage(chunk.get("usage"))
        if usage is not None:
            self.usage = usage
        if chunk.get("error") or chunk.get("object") == "error":
            raise self._failed(chunk.get("error") or chunk)
        events: list[Event] = []
        if not self._started:
            self._started = True
            self._name(chunk)
            events.append(Started(self._id, self._model or None))
        elif not self._id or not self._model:
            self._name(chunk)
        if not chunk.keys() <= _NAMED:
            for key, value in chunk.items():
                if value is not None and key not in _NAMED:
                    self._keep(key, value)
        choices = chunk.get("choices") or ()
        if not isinstance(choices, list | tuple):
            raise self._malformed(f"the choices of a chunk are of type {type(choices).__name__}")
        for choice in choices:
            events += self._choose(choice)
        return events

    def _name(self, chunk: Mapping[str, Any]) -> None:
        name, model = chunk.get("id"), chunk.get("model")
        if not self._id and name and isinstance(name, str):
            self._id = name
        if not self._model and isinstance(model, str):
            self._model = model

    def _keep(self, key: str, value: Any) -> None:
        self._extra[key] = value
        if key == "x_groq" and isinstance(value, Mapping) and "usage" in value:
            self.usage = decode_usage(value["usage"]) or self.usage

    def _choose(self, choice: Any) -> list[Event]:
        if not isinstance(choice, Mapping):
            raise self._malformed(f"a choice is of type {type(choice).__name__}")
        if choice.get("error"):
            raise self._failed(choice["error"])
        index = choice.get("index") or 0
        if not isinstance(index, int):
            raise self._malformed(f"the index of a choice is of type {type(index).__name__}")
        state = self._choices.get(index)
        if state is None:
            state = self._choices[index] = StreamedChoice()
        try:
            events = state.feed(choice)
        except (AttributeError, KeyError, TypeError, ValueError):
            raise self._malformed("the delta of a chunk has no known form") from None
        return events if index == 0 else []

    def done(self) -> None:
        """The stream said `[DONE]`; that proves nothing, `finish` looks for the finish reason."""
        self.ended = True

    def finish(self) -> Response:
        """The whole Response.

        Raises:
            MalformedResponseError: no finish reason came, so the stream was cut; `partial` and `usage` say how far.
        """
        if any(state.finish is None for state in self._choices.values()):
            what = "the stream ended without a finish reason" if self._started else "the stream ended before it began"
            raise self._error(what)
        return self.partial

    @property
    def partial(self) -> Response:
        """The Response as far as it came."""
        first = self._first
        message = fold([*first.events, *first.closing()])
        extra = dict(self._extra)
        rest = first.rest()
        if rest or len(self._choices) > 1:
            others = sorted([index for index in self._choices if index != 0])
            extra["choices"] = [rest, *[_whole_choice(index, self._choices[index]) for index in others]]
        finish = first.finish
        return Response(
            message, self.usage, unified(finish), self._model, self._id, finish, self._request_id, extra, wire=WIRE
        )

    def _final(self) -> Usage | None:
        """The account of a stream that has said its end; one that came before that counts less than was sent."""
        return self.usage if self._first.finish is not None else None

    def _malformed(self, why: str) -> MalformedResponseError:
        return self._error(f"the stream is no completion: {why}")

    def _error(self, text: str) -> MalformedResponseError:
        partial = self.partial if self._started else None
        return MalformedResponseError(
            text, usage=self._final(), partial=partial, request_id=self._request_id, **self._facts
        )

    def _failed(self, failure: Any) -> LLMError:
        partial = self.partial if self._started else None
        return error_in_success(
            failure,
            usage=self._final(),
            partial=partial,
            request_id=self._request_id,
            secrets=self._secrets,
            **self._facts,
        )


def _whole_choice(index: int, state: StreamedChoice) -> dict[str, Any]:
    """A further choice, in the form that it has in an answer that is not streamed."""
    rest = state.rest()
    message = {**encode_answer(fold([*state.events, *state.closing()])), **rest.pop("message", {})}
    return {**rest, "index": index, "message": message, "finish_reason": state.finish}
