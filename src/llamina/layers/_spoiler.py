"""What spoils an answer on its way back: a stream that stands still, or is cut in the middle.

    spoiler = Spoiler(fault, request, counts)
    request = replace(request, sink=sink.through(spoiler.writer))
    return await spoiler.end(await call_next(request))

The one surprise: a cut is raised where the terminal sends its next piece. So the terminal itself fails, closes what it
has open, and is recorded as one whose stream was cut.
"""

from __future__ import annotations

import asyncio
from typing import Any

from llamina.errors import LLMError
from llamina.events import Event, fold
from llamina.protocol import Request, Response
from llamina.sink import Writer

from ._faults import Fault

__all__ = ["Spoiler"]


class Spoiler:
    """Spoils one call, whichever of its writers delivers.

    Raises:
        The class of errors that the fault names, with what had come as `partial`.
    """

    def __init__(self, fault: Fault, request: Request, counts: Any) -> None:
        self.fault = fault
        self.request = request
        self._counts = counts
        self._stalled = not fault.stall

    def writer(self, inner: Writer) -> Writer:
        """A writer of one attempt."""
        return _Spoiling(inner, self)

    async def before(self, sent: int) -> None:
        """What happens when *sent* pieces have come and another one is there."""
        if not self._stalled and sent >= self.fault.after:
            await self._stall()

    async def end(self, response: Response) -> Response:
        """What happens at the end, where no stream came or a shorter one."""
        if not self._stalled:
            await self._stall()
        if self.fault.truncate is not None:
            raise self.cut(response if self.request.sink is not None else None)
        return response

    def cut(self, partial: Response | None) -> LLMError:
        """The error that ends the answer."""
        self._counts.truncated += 1
        return self.fault.cut("the answer was cut, on purpose", model=self.request.model, partial=partial)

    async def _stall(self) -> None:
        self._stalled = True
        self._counts.stalled += 1
        await asyncio.sleep(self.fault.stall)


class _Spoiling(Writer):
    __slots__ = ("_inner", "_sent", "_spoiler")

    def __init__(self, inner: Writer, spoiler: Spoiler) -> None:
        super().__init__()
        self._inner = inner
        self._spoiler = spoiler
        self._sent: list[Event] = []

    async def send(self, event: Event) -> None:
        if not event.content:
            await self._inner.send(event)
            return
        self._break_off()  # before any piece
        await self._spoiler.before(len(self._sent))
        await self._inner.send(event)
        self._sent.append(event)
        self._break_off()

    def _break_off(self) -> None:
        after = self._spoiler.fault.truncate
        if after is not None and len(self._sent) >= after:
            raise self._spoiler.cut(
                Response(fold(self._sent), model=self._spoiler.request.model) if self._sent else None
            )
