"""The testing kit: fakes that play scripts, simulated time, conformance checks.

from llamina.testing import FakeTransport, simulated_time, check_middleware
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from llamina._lazy import lazy_exports

_EXPORTS = {
    "FakeTransport": ".fake",
    "ScriptExhaustedError": ".script",
    "SimulationDeadlock": ".clock",
    "answer": ".script",
    "simulated_time": ".clock",
    "tool_call": ".script",
}

if TYPE_CHECKING:
    from .clock import SimulationDeadlock as SimulationDeadlock
    from .clock import simulated_time as simulated_time
    from .fake import FakeTransport as FakeTransport
    from .script import ScriptExhaustedError as ScriptExhaustedError
    from .script import answer as answer
    from .script import tool_call as tool_call

__all__ = sorted(_EXPORTS)  # noqa: PLE0605 - kept beside the table that loads them
__getattr__, __dir__ = lazy_exports(__name__, _EXPORTS)
