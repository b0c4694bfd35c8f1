"""The order of items that come side by side: what is said of one waits for one that began before it.

The parts of an answer stand in the order of its items. So an item that begins while a text or a thought is open is held
back until that one is done. Nothing waits for a call of a tool, for each of its pieces says which call it goes on with;
and providers send one item after the other, where nothing waits at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from copy import deepcopy
from typing import Any

from ._responses_handlers import HANDLERS
from ._responses_items import CALLS
from ._responses_parts import kind_of
from ._responses_streamed import StreamedOutput

__all__ = ["ItemsInOrder"]


class ItemsInOrder:
    """Hands the server events of each item on to *output*, in the order of the items."""

    __slots__ = ("_begun", "_open", "_output", "_waiting")

    def __init__(self, output: StreamedOutput) -> None:
        self._output = output
        self._begun: set[Any] = set()
        # Items that were announced and are not done; no calls.
        self._open: set[Any] = set()
        self._waiting: dict[Any, list[Mapping[str, Any]]] = {}

    def waits(self, place: Any) -> bool:
        """Whether what is said of the item at *place* is held back."""
        return bool(self._open) and place not in self._begun

    def feed(self, said: Mapping[str, Any]) -> None:
        """Take one server event of an item.

        Raises:
            AttributeError, KeyError, TypeError, ValueError: it has no known form.
        """
        place = said.get("output_index", 0)
        if self.waits(place):
            self._waiting.setdefault(place, []).append(said)
            return
        self._hand_on(place, said)
        while self._waiting and not self._open:
            self._release()

    def _hand_on(self, place: Any, said: Mapping[str, Any]) -> None:
        kind, item = said["type"], said.get("item")
        self._begun.add(place)
        if kind == "response.output_item.added":
            if isinstance(item, Mapping) and kind_of(item) not in CALLS:
                self._open.add(place)
        elif kind.endswith(".done"):  # also of a part of it: some servers never say that the item is
            self._open.discard(place)
        HANDLERS[kind](self._output, said)

    def _release(self) -> None:
        place = next(iter(self._waiting))
        for said in self._waiting.pop(place):
            self._hand_on(place, said)

    def flush(self) -> None:
        """Nothing more comes: hand on all that waits."""
        while self._waiting:
            self._release()

    def whole(self) -> StreamedOutput:
        """The output as far as it came, with what waits; nothing is handed on."""
        if not self._waiting:
            return self._output
        copy = deepcopy(self)
        with suppress(AttributeError, KeyError, TypeError, ValueError):  # of an odd form: what came before it stands
            copy.flush()
        return copy._output
