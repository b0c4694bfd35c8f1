"""llamina: the ASGI of language-model calls.

A call to a model is a `Request` that passes through layers down to a transport, and a complete `Response` that comes
back. `build_stack([layers], transport)` composes them; a layer is any callable that wraps the next handler.

    from llamina import Request, Retry, Timeout, build_stack
    from llamina.transports import EchoTransport

    stack = build_stack([Retry(attempts=3), Timeout(30)], EchoTransport())
    response = await stack(Request.chat("echo", "Why is the sky blue?"))

The protocol is loaded at once; layers, and what they stand on, when they are first named.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._lazy import lazy_exports
from .call import Attempt, Call, Ledger
from .errors import (
    AuthenticationError,
    BudgetExceededError,
    CassetteMissError,
    CircuitOpenError,
    ConfigurationError,
    ContentFilterError,
    ContextLengthError,
    InvalidRequestError,
    LLMError,
    MalformedResponseError,
    NetworkError,
    NotFoundError,
    OverloadedError,
    PermissionDeniedError,
    QuotaExceededError,
    RateLimitError,
    RequestTimeoutError,
    ServerError,
    StreamCommittedError,
    StreamDivergedError,
)
from .events import Event, PartDelta, ReasoningDelta, Started, TextDelta, ToolCallDelta, fold
from .messages import Audio, File, Image, Message, Reasoning, Text, ToolCall, ToolResult, UnknownPart, Usage
from .protocol import (
    PROTOCOL_VERSION,
    CacheControl,
    Handler,
    Middleware,
    Request,
    Response,
    evolve,
    explain_identity,
    middleware,
)
from .sink import Sink, Writer
from .stack import Stack, build_stack
from .stream import Stream

if TYPE_CHECKING:
    from .client import Client as Client
    from .client import Conversation as Conversation
    from .config import load_stack as load_stack
    from .layers.cache import Cache as Cache
    from .layers.chaos import Chaos as Chaos
    from .layers.circuit_breaker import CircuitBreaker as CircuitBreaker
    from .layers.cost import CostMeter as CostMeter
    from .layers.dedup import Dedup as Dedup
    from .layers.logger import JSONFormatter as JSONFormatter
    from .layers.logger import Logger as Logger
    from .layers.map_text import map_text as map_text
    from .layers.recorder import Recorder as Recorder
    from .layers.retry import Retry as Retry
    from .layers.timeout import Timeout as Timeout
    from .order import StackOrderWarning as StackOrderWarning
    from .policy.accounts import Budget as Budget
    from .policy.adaptive import Adaptive as Adaptive
    from .policy.backoff import Backoff as Backoff
    from .policy.backoff import Constant as Constant
    from .policy.backoff import DecorrelatedJitter as DecorrelatedJitter
    from .policy.backoff import Exponential as Exponential
    from .policy.backoff import Fibonacci as Fibonacci
    from .policy.backoff import Linear as Linear
    from .policy.classify import default_classifier as default_classifier
    from .policy.retry_budget import RetryBudget as RetryBudget
    from .stores.base import Store as Store
    from .stores.memory import MemoryCache as MemoryCache
    from .stores.sqlite import SQLiteCache as SQLiteCache

__version__ = "0.1.0"

_LATE = {
    "Adaptive": ".policy.adaptive",
    "Backoff": ".policy.backoff",
    "Budget": ".policy.accounts",
    "Cache": ".layers.cache",
    "Chaos": ".layers.chaos",
    "CircuitBreaker": ".layers.circuit_breaker",
    "Client": ".client",
    "Constant": ".policy.backoff",
    "Conversation": ".client",
    "CostMeter": ".layers.cost",
    "DecorrelatedJitter": ".policy.backoff",
    "Dedup": ".layers.dedup",
    "Exponential": ".policy.backoff",
    "Fibonacci": ".policy.backoff",
    "JSONFormatter": ".layers.logger",
    "Linear": ".policy.backoff",
    "Logger": ".layers.logger",
    "MemoryCache": ".stores.memory",
    "Recorder": ".layers.recorder",
    "Retry": ".layers.retry",
    "RetryBudget": ".policy.retry_budget",
    "SQLiteCache": ".stores.sqlite",
    "StackOrderWarning": ".order",
    "Store": ".stores.base",
    "Timeout": ".layers.timeout",
    "default_classifier": ".policy.classify",
    "load_stack": ".config",
    "map_text": ".layers.map_text",
}

__all__ = [
    "PROTOCOL_VERSION",
    "Adaptive",
    "Attempt",
    "Audio",
    "AuthenticationError",
    "Backoff",
    "Budget",
    "BudgetExceededError",
    "Cache",
    "CacheControl",
    "Call",
    "CassetteMissError",
    "Chaos",
    "CircuitBreaker",
    "CircuitOpenError",
    "Client",
    "ConfigurationError",
    "Constant",
    "ContentFilterError",
    "ContextLengthError",
    "Conversation",
    "CostMeter",
    "DecorrelatedJitter",
    "Dedup",
    "Event",
    "Exponential",
    "Fibonacci",
    "File",
    "Handler",
    "Image",
    "InvalidRequestError",
    "JSONFormatter",
    "LLMError",
    "Ledger",
    "Linear",
    "Logger",
    "MalformedResponseError",
    "MemoryCache",
    "Message",
    "Middleware",
    "NetworkError",
    "NotFoundError",
    "OverloadedError",
    "PartDelta",
    "PermissionDeniedError",
    "QuotaExceededError",
    "RateLimitError",
    "Reasoning",
    "ReasoningDelta",
    "Recorder",
    "Request",
    "RequestTimeoutError",
    "Response",
    "Retry",
    "RetryBudget",
    "SQLiteCache",
    "ServerError",
    "Sink",
    "Stack",
    "StackOrderWarning",
    "Started",
    "Store",
    "Stream",
    "StreamCommittedError",
    "StreamDivergedError",
    "Text",
    "TextDelta",
    "Timeout",
    "ToolCall",
    "ToolCallDelta",
    "ToolResult",
    "UnknownPart",
    "Usage",
    "Writer",
    "__version__",
    "build_stack",
    "default_classifier",
    "evolve",
    "explain_identity",
    "fold",
    "load_stack",
    "map_text",
    "middleware",
]

__getattr__, __dir__ = lazy_exports(__name__, _LATE)
