"""Logger: one record per call, on one line, without secrets, and never in the way."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from llamina import ConfigurationError, JSONFormatter, Logger, RateLimitError, Request, ServerError, Usage, build_stack
from llamina.testing import FakeTransport, answer, check_middleware, simulated_time

REQUEST = Request.chat("m", "canary prompt", tags={"user": "ada"})


class Keeping(logging.Handler):
    """Keeps records."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture
def kept() -> Iterator[Keeping]:
    """A handler on a logger of its own, at INFO."""
    handler = Keeping()
    logger = logging.getLogger("test.llamina")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    yield handler
    logger.removeHandler(handler)


def fields(record: logging.LogRecord) -> dict[str, Any]:
    """The fields of a record."""
    return {key: value for key, value in record.__dict__.items() if key.startswith("llm_")}


def test_it_keeps_the_protocol() -> None:
    """Every clause."""
    assert check_middleware(lambda: Logger(logger="test.quiet"))


def test_an_answer_is_one_record_with_its_facts(kept: Keeping) -> None:
    """Who, what, how long, how many tokens; and no word of the prompt or the answer."""

    @simulated_time
    async def play() -> None:
        fake = FakeTransport([["canary ", 2.0, answer("canary answer", usage=Usage(10, 5))]])
        await build_stack([Logger(logger="test.llamina")], fake)(REQUEST)

    play()

    (record,) = kept.records
    seen = fields(record)
    assert (seen["llm_model"], seen["llm_provider"], seen["llm_outcome"], seen["llm_attempts"]) == (
        "m",
        "fake",
        "ok",
        1,
    )
    assert (seen["llm_input_tokens"], seen["llm_output_tokens"]) == (10, 5)
    assert seen["llm_latency"] == pytest.approx(2)
    assert seen["llm_tags"] == {"user": "ada"}
    assert "canary" not in record.getMessage() + JSONFormatter().format(record)


def test_a_stream_tells_when_its_first_event_came(kept: Keeping) -> None:
    """Seconds from the start of the call to the first content."""

    @simulated_time
    async def play() -> None:
        stack = build_stack([Logger(logger="test.llamina")], FakeTransport([[3.0, "a", 2.0, "b"]]))
        async with stack.stream(REQUEST) as stream:
            await stream.complete()

    play()

    assert fields(kept.records[0])["llm_first_event"] == pytest.approx(3)


def test_a_failure_is_a_warning_with_its_class_and_status_but_not_its_text(kept: Keeping) -> None:
    """The message of a provider may quote the prompt or a key."""

    @simulated_time
    async def play() -> None:
        fake = FakeTransport([RateLimitError("canary key sk-123", status=429, code="slow_down")])
        with pytest.raises(RateLimitError):
            await build_stack([Logger(logger="test.llamina")], fake)(REQUEST)

    play()

    (record,) = kept.records
    seen = fields(record)
    assert record.levelno == logging.WARNING
    assert (seen["llm_error"], seen["llm_status"], seen["llm_code"]) == ("RateLimitError", 429, "slow_down")
    assert "canary" not in JSONFormatter().format(record) + record.getMessage()


def test_a_cancelled_call_is_logged_as_such(kept: Keeping) -> None:
    """Also a consumer who leaves a stream."""

    @simulated_time
    async def play() -> None:
        async with build_stack([Logger(logger="test.llamina")], FakeTransport([["a", 9.0]])).stream(REQUEST) as stream:
            await anext(stream)

    play()

    assert fields(kept.records[0])["llm_outcome"] == "cancelled"


@pytest.mark.parametrize("nasty", ["a\nb", "a\r\nERROR forged", "\x1b[31m", "\u2028", "\x85", '"', "a b=c"])
def test_a_record_is_one_line_whatever_a_tag_or_prompt_holds(kept: Keeping, nasty: str) -> None:
    """Nothing that callers send can forge another line of the log."""

    @simulated_time
    async def play() -> None:
        request = Request.chat(nasty, nasty, tags={"user": nasty})
        await build_stack([Logger(logger="test.llamina", content=True)], FakeTransport(nasty))(request)

    play()

    (record,) = kept.records
    for text in (record.getMessage(), JSONFormatter().format(record)):
        assert len(text.splitlines()) == 1
        assert "\x1b" not in text
    assert json.loads(JSONFormatter().format(record))["tags"]["user"] == nasty


def test_content_is_logged_on_demand_redacted_and_cut(kept: Keeping) -> None:
    """`content=True`, `redact=` and `max_content=`."""

    @simulated_time
    async def play() -> None:
        layer = Logger(
            logger="test.llamina", content=True, redact=lambda text: text.replace("canary", "***"), max_content=10
        )
        await build_stack([layer], FakeTransport("canary " + "x" * 100))(REQUEST)

    play()

    seen = fields(kept.records[0])
    assert seen["llm_prompt"] == "*** prompt"
    assert seen["llm_answer"].startswith("*** xxxxxx…")


class Raising(logging.Handler):
    """A handler that is broken."""

    def emit(self, record: logging.LogRecord) -> None:
        raise OSError("disk full")


@simulated_time
async def test_a_handler_that_raises_does_not_fail_the_call() -> None:
    """The call is answered; the loss is counted."""
    logger = logging.getLogger("test.broken")
    logger.addHandler(Raising())
    logger.setLevel(logging.INFO)
    stack = build_stack([Logger(logger=logger)], FakeTransport(["hi", ServerError("down")]))

    assert (await stack(REQUEST)).text == "hi"
    with pytest.raises(ServerError):
        await stack(REQUEST)

    assert stack.stats()["logger.dropped"] == 2


@simulated_time
async def test_nothing_is_made_when_the_level_is_off() -> None:
    """A redactor that would raise is never called."""

    def never(text: str) -> str:
        raise AssertionError

    quiet = logging.getLogger("test.off")
    quiet.setLevel(logging.ERROR)
    stack = build_stack([Logger(logger=quiet, content=True, redact=never)], FakeTransport("hi"))
    await stack(REQUEST)

    assert stack.stats()["logger.records"] == stack.stats()["logger.dropped"] == 0


@simulated_time
async def test_without_a_meter_the_cost_is_not_said_to_be_zero() -> None:
    """Unknown is not 0."""
    handler = Keeping()
    logger = logging.getLogger("test.cost")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    await build_stack([Logger(logger=logger)], FakeTransport("hi"))(REQUEST)

    assert "llm_cost" not in fields(handler.records[0])


def test_a_record_that_is_not_ours_is_formatted_too() -> None:
    """The formatter can serve a whole application."""
    record = logging.LogRecord("app", logging.INFO, __file__, 1, "hello %s", ("world",), None)

    assert json.loads(JSONFormatter().format(record))["message"] == "hello world"


def test_a_level_that_does_not_exist_is_refused() -> None:
    """Found when it is built."""
    assert Logger(level="debug").level == logging.DEBUG
    with pytest.raises(ConfigurationError, match="Logger.level"):
        Logger(level="LOUD")
