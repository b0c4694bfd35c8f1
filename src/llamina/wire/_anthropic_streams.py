"""Streams on Anthropic's wire: events while they come, the whole Response at the end.

Most payloads carry one piece of one block. `feed_bytes` decodes those straight into a small struct that knows their form
exactly; a payload of any other form, or with a field that the struct does not know, is decoded in full.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from llamina.errors import LLMError, MalformedResponseError
from llamina.events import Event, Started, fold
from llamina.messages import Usage
from llamina.protocol import Response

from ._anthropic_answers import unified
from ._anthropic_blocks import WIRE
from ._anthropic_errors import error_in_success
from ._anthropic_open_blocks import Call, Delta, OpenBlock, kind_of, open_block
from ._anthropic_order import NO_BLOCK, BlocksInOrder
from ._anthropic_usage import decode_usage, later_account

__all__ = ["StreamDecoder"]


class _Plain(msgspec.Struct, tag_field="type", tag="content_block_delta", forbid_unknown_fields=True, gc=False):
    index: int
    delta: Delta


_plain = msgspec.json.Decoder(_Plain).decode
_whole = msgspec.json.Decoder().decode
_NAMED = frozenset({"id", "type", "role", "model", "content", "stop_reason", "usage"})
_IMPLIED = {"text_delta": {"type": "text", "text": ""}, "thinking_delta": {"type": "thinking", "thinking": ""}}


class StreamDecoder:
    """Reads one stream.

    Args:
        provider, model: named in errors; secrets: texts that are masked in them.
        request_id: the provider's id of the request, for the Response and for errors.

    The first event is `Started`, which is sent for keep-alives too.
    """

    __slots__ = (
        "_account",
        "_begun",
        "_blocks",
        "_calls",
        "_extra",
        "_facts",
        "_final",
        "_id",
        "_kind",
        "_model",
        "_order",
        "_request_id",
        "_role",
        "_secrets",
        "_stop",
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
        self._begun = False
        self._blocks: dict[int, OpenBlock] = {}
        self._order = BlocksInOrder()
        self._kind = ""
        self._calls = 0
        self._extra: dict[str, Any] = {}
        self._id: str | None = None
        self._model = ""
        self._role = "assistant"
        self._stop: Any = None
        self._account: Any = None
        self._final = False
        self.ended = False
        """Whether the stream said `message_stop`."""
        self.usage: Usage | None = None
        """Tokens as the provider last said them: counts in a stream are cumulative, never summed."""

    def feed_bytes(self, payload: bytes) -> list[Event]:
        """The events of one data payload; an empty one is a keep-alive.

        Raises:
            MalformedResponseError: the payload is no event.
            LLMError: the payload is an error; it is classified.
        """
        front = self._order.front
        if front is not NO_BLOCK:
            try:
                piece = _plain(payload)
            except msgspec.DecodeError:
                pass
            else:
                if piece.index == front.index:
                    events = front.plain(piece.delta)
                    if events is not None:
                        self._order.events += events
                        return events
        try:
            return self.feed(_whole(payload))
        except (msgspec.DecodeError, RecursionError):
            # Checked only here, where nothing is hot.
            if not payload.strip() or payload.strip() == b"[DONE]":  # with which some servers end every stream
                return []
            raise self._malformed("one of its payloads is no JSON") from None

    def feed(self, event: Any) -> list[Event]:
        """The events of one event of the wire that is decoded already; one of an unknown type has none.

        Raises:
            MalformedResponseError: it is no event.
            LLMError: it is an error; it is classified.
        """
        if not isinstance(event, Mapping):
            raise self._malformed(f"one of its events is of type {type(event).__name__}")
        kind = event.get("type")
        if kind == "error" or (kind is None and event.get("error")):
            raise self._failed(event)
        if kind is None and "index" in event and "delta" in event:  # as `feed_bytes` reads it
            kind = "content_block_delta"
        if kind == "ping":
            return [Started(self._id, self._model or None)]
        read = _READERS.get(kind) if isinstance(kind, str) else None
        if read is None:
            return []
        try:
            return read(self, event)
        except (AttributeError, KeyError, TypeError, ValueError):
            raise self._malformed(f"its {kind} has no known form") from None

    def _message_start(self, event: Mapping[str, Any]) -> list[Event]:
        message = event["message"]
        self._begun = True
        name, model, role = message.get("id"), message.get("model"), message.get("role")
        self._id = name if isinstance(name, str) else None
        self._model = model if isinstance(model, str) else ""
        self._role = role if isinstance(role, str) else "assistant"
        self._stop = message.get("stop_reason")
        self._account = message.get("usage")
        found = decode_usage(self._account)
        # No prompt has no tokens: zeros at the start are what a server says that does not know them yet.
        self.usage = found if found is not None and found.total_tokens else None
        self._extra |= {key: value for key, value in message.items() if key not in _NAMED}
        events: list[Event] = [Started(self._id, self._model or None)]
        for index, block in enumerate(message.get("content") or ()):
            events += self._block_start({"index": index, "content_block": block})
            events += self._block_stop({"index": index})
        return events

    def _block_start(self, event: Mapping[str, Any]) -> list[Event]:
        index, fields = _index(event), event["content_block"]
        events = self._order.end(self._blocks.get(index))
        kind = kind_of(fields)
        block = open_block(index, fields, new=kind == self._kind, number=self._calls)
        self._kind = kind
        self._calls += kind == "call"
        self._blocks[index] = block
        self._begun = True
        return events + self._order.begin(block)

    def _block_delta(self, event: Mapping[str, Any]) -> list[Event]:
        index, delta = _index(event), event["delta"]
        events: list[Event] = []
        block = self._blocks.get(index)
        if block is None or (block.closed and type(block) is not Call):
            kind = delta.get("type")
            fields = _IMPLIED.get(kind) or {"type": str(kind).removesuffix("_delta")}
            events = self._block_start({"index": index, "content_block": fields})
            block = self._blocks[index]
        return events + self._order.say(block, block.feed(delta))

    def _block_stop(self, event: Mapping[str, Any]) -> list[Event]:
        return self._order.end(self._blocks.get(_index(event)))

    def _message_delta(self, event: Mapping[str, Any]) -> list[Event]:
        for key, value in [*event.get("delta", {}).items(), *event.items()]:
            if key == "stop_reason":
                self._stop = value if value is not None else self._stop
            elif key not in ("type", "delta", "usage") and (value is not None or key not in self._extra):
                self._extra[key] = value
        account = later_account(self._account, event.get("usage"))
        if account is not None:
            self._final, self._account, self.usage = True, account, decode_usage(account)
        return self._order.end_all() if self._stop is not None else []

    def _message_stop(self, event: Mapping[str, Any]) -> list[Event]:  # noqa: ARG002
        self.ended = True
        return self._order.end_all()

    def finish(self) -> Response:
        """The whole Response.

        Raises:
            MalformedResponseError: no stop reason came, so the stream was cut; `partial` says how far it came, and
                `usage` what it cost where the provider has said that at its end.
        """
        if self._stop is None:
            what = "the stream ended without a stop reason" if self._begun else "the stream ended before it began"
            raise self._error(what)
        self._order.end_all()
        whole = self.partial
        # The account of the beginning knows nothing of the answer: better none than one that is too small.
        return whole if self._final else whole.evolve(usage=None)

    @property
    def partial(self) -> Response:
        """The Response as far as it came."""
        message = fold([*self._order.events, *self._order.rest()], self._role)
        stop = self._stop if isinstance(self._stop, str) else None
        return Response(
            message,
            self.usage,
            unified(self._stop),
            self._model,
            self._id,
            stop,
            self._request_id,
            dict(self._extra),
            wire=WIRE,
        )

    def _malformed(self, why: str) -> MalformedResponseError:
        return self._error(f"the stream is no message: {why}")

    def _error(self, text: str) -> MalformedResponseError:
        return MalformedResponseError(text, request_id=self._request_id, **self._state())

    def _failed(self, event: Mapping[str, Any]) -> LLMError:
        return error_in_success(event, request_id=self._request_id, secrets=self._secrets, **self._state())

    def _state(self) -> dict[str, Any]:
        """What an error tells of the stream; the account of its beginning is not what it costs."""
        usage = self.usage if self._final and self._stop is not None else None
        return {"usage": usage, "partial": self.partial if self._begun else None, **self._facts}


def _index(event: Mapping[str, Any]) -> int:
    index = event.get("index") or 0
    if not isinstance(index, int):
        raise TypeError(index)
    return index


_READERS = {
    "message_start": StreamDecoder._message_start,
    "content_block_start": StreamDecoder._block_start,
    "content_block_delta": StreamDecoder._block_delta,
    "content_block_stop": StreamDecoder._block_stop,
    "message_delta": StreamDecoder._message_delta,
    "message_stop": StreamDecoder._message_stop,
}
