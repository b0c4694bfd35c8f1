"""Words for the scripts that fakes play: what a provider answers, and how it goes wrong.

FakeTransport(["first", RateLimitError("slow down", retry_after=2), ["in ", 0.5, "pieces"]])
FakeTransport(answer("x", usage=Usage(10, 20)))
FakeTransport(tool_call("weather", {"city": "Paris"}))
FakeTransport(vectors([0.1, 0.2], [0.3, 0.4]))          # for Request.embed

What they cannot say is said by a Response: reasoning with its signature, several calls of tools, a refusal.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from llamina.errors import ConfigurationError
from llamina.messages import Message, Text, ToolCall, Usage
from llamina.protocol import Request, Response

__all__ = ["ScriptExhaustedError", "answer", "tool_call", "vectors"]


class ScriptExhaustedError(AssertionError):
    """A fake was called more often than its script has items. No layer may handle it: the test is wrong."""


def answer(
    text: str,
    *,
    usage: Usage | None = None,
    finish_reason: str = "stop",
    model: str = "",
    **fields: Any,
) -> Response:
    """A complete answer of *text*; without *usage* the fake counts tokens itself."""
    parts = (Text(text),) if text else ()
    return Response(Message("assistant", parts), usage, finish_reason, model=model, **fields)


def tool_call(
    name: str,
    arguments: Mapping[str, Any] | str | None = None,
    *,
    id: str = "call_1",  # noqa: A002 - the wire's word
    usage: Usage | None = None,
) -> Response:
    """An answer that asks for a tool; *arguments* is a mapping, or the text that the model wrote."""
    text = arguments if isinstance(arguments, str) else msgspec.json.encode(dict(arguments or {})).decode()
    return Response(Message("assistant", (ToolCall(id, name, text),)), usage, "tool_calls")


def vectors(*vectors: Iterable[float], usage: Usage | None = None, model: str = "") -> Response:
    """The answer to `Request.embed`: one vector for each text, in their order.

    As many are given as are written here. Another number than there are texts is a fault: a `SimulatedProvider` plays
    it, a `FakeTransport` takes it for a mistake of the test.
    """
    found = tuple([tuple([float(number) for number in vector]) for vector in vectors])
    return Response(Message("assistant"), usage, "stop", model=model, vectors=found)


def check_kind(request: Request, response: Response | None) -> None:
    """Refuse vectors as an answer to a chat, and anything else (None: text, events) as an answer to an embed request.

    Raises:
        ConfigurationError: they do not go together.
    """
    gives_vectors = response is not None and bool(response.vectors)
    if request.kind == "embed" and not gives_vectors:
        raise ConfigurationError(
            "the script answers an embed request with something that has no vectors; use vectors([...]), "
            "with one list of numbers for each text"
        )
    if request.kind != "embed" and gives_vectors:
        raise ConfigurationError(f"the script answers a {request.kind} request with vectors; use text or answer(...)")


def check_count(request: Request, response: Response) -> None:
    """Refuse another number of vectors than the request has texts; real terminals raise a MalformedResponseError.

    Raises:
        ConfigurationError: the numbers differ.
    """
    given, wanted = len(response.vectors), len(request.messages)
    if request.kind == "embed" and given != wanted:
        raise ConfigurationError(
            f"the script gives {given} vector{'s' * (given != 1)} for {wanted} text{'s' * (wanted != 1)}; write "
            f"vectors({', '.join(['[...]'] * min(wanted, 3))}{', ...' * (wanted > 3)}), or a function of the request "
            "that gives one for each of its messages; to play the fault, raise a MalformedResponseError"
        )


def check_item(item: Any, *, where: str) -> None:
    """Refuse what is no item of a script; a bare number is a pause with its brackets forgotten."""
    if isinstance(item, bool | int | float) or item is None:
        raise ConfigurationError(
            f"{where} is the bare value {item!r}; a pause belongs into a timeline, a list: [{item!r}, 'text']"
        )
