"""A conversation: the history of a talk, which grows by a turn when its answer is complete.

    talk = client.conversation(system="Be brief.")
    await talk.chat("Why is the sky blue?")
    await talk.chat("And at dusk?")             # the model sees the first turn too
    talk.messages

The one surprise: a call that fails, or is left before its end, leaves the history as it was; so it can be asked again.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from typing import Any, Self

from ._client_plan import Plan, Settings
from .errors import InvalidRequestError
from .messages import Message
from .protocol import Request, Response
from .stack import Stack

__all__ = ["Talk"]


class Talk:
    """What the two faces of a conversation share: settings, history, and that one call at a time uses it."""

    def __init__(self, stack: Stack, settings: Settings, messages: Iterable[Message]) -> None:
        self.stack = stack
        self._settings = settings
        self._messages = tuple(messages)
        self._busy = threading.Lock()  # held from the beginning of a call to its end

    @property
    def messages(self) -> tuple[Message, ...]:
        """The history so far: the system message, then the turns whose answers are complete."""
        return self._messages

    def fork(self) -> Self:
        """A conversation that goes on from here on its own; this one does not see its turns."""
        return type(self)(self.stack, self._settings, self._messages)

    def _plan(self, messages: Any, given: Mapping[str, Any]) -> Plan:
        settings = self._settings.merged("chat", InvalidRequestError, **given)
        turn = Request.chat("-", messages).messages
        return settings.plan(self.stack, (*self._messages, *turn), turn=_Turn(self))

    def __repr__(self) -> str:
        # What was said may be private: a repr shows how much it is.
        return f"{type(self).__name__}({self._settings.model!r}, {len(self._messages)} messages)"


class _Turn:
    """One call of a conversation."""

    __slots__ = ("_known", "_mine", "_talk")

    def __init__(self, talk: Talk) -> None:
        self._talk = talk
        self._known = talk._messages
        self._mine = False

    def begin(self) -> None:
        talk = self._talk
        if not talk._busy.acquire(blocking=False):
            raise RuntimeError(
                "this conversation waits for an answer already; let that call end first, or go on with `talk.fork()`"
            )
        self._mine = True
        if talk._messages is not self._known:
            self.end()
            raise RuntimeError(
                "the conversation has gone on since this stream was made; make the stream when you are about to read it"
            )

    def add(self, request: Request, answer: Response, between: tuple[Any, ...]) -> None:
        self._talk._messages = (*request.messages, *between, answer.message)

    def end(self) -> None:
        if self._mine:
            self._mine = False
            self._talk._busy.release()
