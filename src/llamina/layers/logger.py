"""One structured record per logical call, on stdlib logging.

    build_stack([Logger(), Retry(), Timeout(30)], transport)

    handler = logging.StreamHandler()
    handler.setFormatter(JSONFormatter())        # one JSON object a line
    logging.getLogger("llamina").addHandler(handler)

A record carries, as attributes: `llm_id`, `llm_model`, `llm_provider`, `llm_outcome`, `llm_attempts`, `llm_latency` and
`llm_first_event` (seconds), `llm_input_tokens`, `llm_output_tokens`, `llm_cost` (USD), `llm_cost_complete`, `llm_cache`,
`llm_joined`, `llm_tags`, and for a failure `llm_error`, `llm_status`, `llm_code`. Prompts and answers only with
`content=True`. A record is one line whatever the tags or the prompt hold, and it is built only when its level is on.

The one surprise: a handler that raises does not fail the call; `logger.dropped` counts what was lost. A handler that is
slow does slow the call: put a `logging.handlers.QueueHandler` in front of it.
"""

from __future__ import annotations

import asyncio
import json
import logging
from asyncio import get_running_loop
from collections.abc import Callable
from typing import Any, ClassVar

import msgspec
from attrs import field, frozen

from llamina.call import Call
from llamina.errors import LLMError
from llamina.layer import Layer
from llamina.policy._validate import at_least
from llamina.protocol import Handler, Request, Response

__all__ = ["JSONFormatter", "Logger"]


def _level(value: int | str) -> int:
    number = logging.getLevelName(value.upper()) if isinstance(value, str) else value
    if not isinstance(number, int) or isinstance(number, bool):
        from llamina.errors import ConfigurationError

        raise ConfigurationError(f'Logger.level must be a level of logging ("INFO", logging.DEBUG), got {value!r}')
    return number


def _logger(value: str | logging.Logger) -> logging.Logger:
    return value if isinstance(value, logging.Logger) else logging.getLogger(value)


class _Counts:
    """What the layer has done so far."""

    def __init__(self) -> None:
        self.records = self.dropped = 0


@frozen(eq=False, slots=False, repr=False)
class Logger(Layer):
    """Log every call once, when it ends: answered, failed or cancelled.

    Args:
        logger: a logger or its name.
        level: of an answered or cancelled call; a failed one is logged at WARNING, or at *level* if that is higher.
        content: also log the prompt and the answer.
        redact: `text -> text`, applied to both before they are logged.
        max_content: characters of each that are logged at most.
    """

    effects: ClassVar[frozenset[str]] = frozenset({"observes"})

    logger: logging.Logger = field(factory=lambda: logging.getLogger("llamina"), converter=_logger, kw_only=True)
    level: int = field(default=logging.INFO, converter=_level, kw_only=True)
    content: bool = field(default=False, kw_only=True)
    redact: Callable[[str], str] | None = field(default=None, kw_only=True, repr=False)
    max_content: int = field(default=2000, kw_only=True, validator=at_least(1, integer=True))

    _counts: _Counts = field(init=False, repr=False, factory=_Counts)

    def wrap(self, call_next: Handler) -> Handler:
        """The bare layer round *call_next*."""

        async def handle(request: Request) -> Response:
            clock = get_running_loop().time
            started = clock()
            try:
                response = await call_next(request)
            except asyncio.CancelledError as error:
                self._log(request, None, error, clock() - started, started)
                raise
            except Exception as error:
                self._log(request, None, error, clock() - started, started)
                raise
            self._log(request, response, None, clock() - started, started)
            return response

        return handle

    def _log(
        self, request: Request, response: Response | None, error: BaseException | None, latency: float, started: float
    ) -> None:
        failed = error is not None and not isinstance(error, asyncio.CancelledError)
        level = max(self.level, logging.WARNING) if failed else self.level
        logger = self.logger
        if not logger.isEnabledFor(level):
            return
        try:
            fields = _fields(request, response, error, latency, started)
            if self.content:
                fields["llm_prompt"] = self._content("\n".join([message.text for message in request.messages]))
                fields["llm_answer"] = self._content("" if response is None else response.text)
            record = logger.makeRecord(logger.name, level, __file__, 0, _Line(fields), (), None, "handle")
            record.__dict__.update(fields)
            logger.handle(record)
            self._counts.records += 1
        except Exception:  # noqa: BLE001 - a log never fails a call; counted instead
            self._counts.dropped += 1

    def _content(self, text: str) -> str:
        if self.redact is not None:
            text = self.redact(text)
        return text if len(text) <= self.max_content else f"{text[: self.max_content]}… ({len(text)} characters)"

    def explain(self, request: Request | None = None) -> str:
        """What it does; for a *request*, what it will do, as things stand now."""
        from ._explanations import of_logger

        return "\n".join(of_logger(self, request))

    def stats(self) -> dict[str, Any]:
        """`logger.records` written, `logger.dropped` lost to a handler or a redactor that raised."""
        return {"logger.records": self._counts.records, "logger.dropped": self._counts.dropped}


def _fields(
    request: Request, response: Response | None, error: BaseException | None, latency: float, started: float
) -> dict[str, Any]:
    call = request.call
    fields: dict[str, Any] = {
        "llm_id": None if call is None else call.id,
        "llm_model": request.model,
        "llm_outcome": "ok" if error is None else _outcome(error),
        "llm_latency": latency,
        "llm_tags": dict(request.tags),
    }
    first = None if request.sink is None else request.sink.first_event_at
    if first is not None:
        fields["llm_first_event"] = first - started
    if call is not None:
        _account(call, fields)
    if error is not None and not isinstance(error, asyncio.CancelledError):
        fields["llm_error"] = type(error).__name__
        if isinstance(error, LLMError):
            fields["llm_status"] = error.status
            fields["llm_code"] = error.code
    if response is not None and response.finish_reason is not None:
        fields["llm_finish_reason"] = response.finish_reason
    return fields


def _account(call: Call, fields: dict[str, Any]) -> None:
    attempts = call.attempts
    fields["llm_attempts"] = len(attempts)
    fields["llm_cache"] = call.cache
    fields["llm_joined"] = call.joins > 0
    if len(attempts) == 1:  # nearly every call: no sums are needed
        (attempt,) = attempts
        usage, priced = attempt.usage, attempt.cost_units is not None
        cost, complete = attempt.cost, priced and attempt.usage_source == "exact"
    else:
        usage = call.usage if attempts else None
        # Without a meter nobody knows the cost, and unknown is not 0.
        priced = not attempts or any([attempt.cost_units is not None for attempt in attempts])
        cost, complete = call.cost, call.cost_complete
    if attempts:
        fields["llm_provider"] = attempts[-1].provider
    if usage is not None:
        fields["llm_input_tokens"] = usage.input_tokens
        fields["llm_output_tokens"] = usage.output_tokens
    if priced:
        fields["llm_cost"] = cost
        fields["llm_cost_complete"] = complete


def _outcome(error: BaseException) -> str:
    if isinstance(error, asyncio.CancelledError):
        return "cancelled"
    return error.outcome if isinstance(error, LLMError) else "error"


class _Line:
    """The text of a record, made when a handler asks for it."""

    __slots__ = ("_fields",)

    def __init__(self, fields: dict[str, Any]) -> None:
        self._fields = fields

    def __str__(self) -> str:
        shown = [
            f"{name.removeprefix('llm_')}={_one_line(value)}"
            for name, value in self._fields.items()
            if value is not None and value != {} and name != "llm_cost_complete"
        ]
        return " ".join(shown)


def _one_line(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, str) and value.isprintable() and " " not in value:
        return value
    if isinstance(value, str | dict):
        # JSON escapes every line break and control character, so nothing in a prompt can forge a line of the log.
        return ascii(value) if isinstance(value, str) else _json(value)
    return str(value)


_LINE_ENDS = {ord(mark): f"\\u{ord(mark):04x}" for mark in "\x7f\x85\u2028\u2029"}


def _json(value: Any) -> str:
    """JSON on one line, also for readers that take U+0085 or U+2028 for the end of one."""
    try:
        text = msgspec.json.encode(value, enc_hook=str).decode()
    except UnicodeEncodeError:  # a lone surrogate
        text = json.dumps(value, default=str)
    return text.translate(_LINE_ENDS)


class JSONFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, and every `llm_` field of the record without the prefix."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line of JSON."""
        line: dict[str, Any] = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname,
            "logger": record.name,
        }
        fields = {key[4:]: value for key, value in record.__dict__.items() if key.startswith("llm_")}
        line.update(fields or {"message": record.getMessage()})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return _json(line)
