"""The testing kit: fakes that play scripts, simulated time, conformance checks.

from llamina.testing import FakeTransport, simulated_time, check_middleware
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from llamina._lazy import lazy_exports

_EXPORTS = {
    "CallLog": ".call_log",
    "ConformanceError": ".conformance",
    "FakeTransport": ".fake",
    "NetworkRefusedError": "._fuse",
    "ScriptExhaustedError": ".script",
    "SimulatedClock": ".clock",
    "SimulatedProvider": ".provider",
    "SimulationDeadlock": ".clock",
    "SimulationLeak": ".clock",
    "answer": ".script",
    "check_backoff": ".backoff_contract",
    "check_handler": ".conformance",
    "check_middleware": ".conformance",
    "check_store": ".store_contract",
    "cut": ".provider_script",
    "drip": ".provider_script",
    "error_event": ".provider_script",
    "garbage": ".provider_script",
    "no_done": ".provider_script",
    "no_usage": ".provider_script",
    "simulated_time": ".clock",
    "slow_headers": ".provider_script",
    "stall": ".provider_script",
    "status": ".provider_script",
    "tool_call": ".script",
    "vectors": ".script",
    "with_headers": ".provider_script",
}

if TYPE_CHECKING:
    from ._fuse import NetworkRefusedError as NetworkRefusedError
    from .backoff_contract import check_backoff as check_backoff
    from .call_log import CallLog as CallLog
    from .clock import SimulatedClock as SimulatedClock
    from .clock import SimulationDeadlock as SimulationDeadlock
    from .clock import SimulationLeak as SimulationLeak
    from .clock import simulated_time as simulated_time
    from .conformance import ConformanceError as ConformanceError
    from .conformance import check_handler as check_handler
    from .conformance import check_middleware as check_middleware
    from .fake import FakeTransport as FakeTransport
    from .provider import SimulatedProvider as SimulatedProvider
    from .provider_script import cut as cut
    from .provider_script import drip as drip
    from .provider_script import error_event as error_event
    from .provider_script import garbage as garbage
    from .provider_script import no_done as no_done
    from .provider_script import no_usage as no_usage
    from .provider_script import slow_headers as slow_headers
    from .provider_script import stall as stall
    from .provider_script import status as status
    from .provider_script import with_headers as with_headers
    from .script import ScriptExhaustedError as ScriptExhaustedError
    from .script import answer as answer
    from .script import tool_call as tool_call
    from .script import vectors as vectors
    from .store_contract import check_store as check_store

__all__ = sorted(_EXPORTS)  # noqa: PLE0605 - kept beside the table that loads them
__getattr__, __dir__ = lazy_exports(__name__, _EXPORTS)
