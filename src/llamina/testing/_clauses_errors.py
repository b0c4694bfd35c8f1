"""Clauses about errors: they come out as they are, free what was held, can travel, and show nothing secret."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import pickle
from collections.abc import Iterator

from llamina.errors import InvalidRequestError, LLMError, RateLimitError, ServerError
from llamina.messages import Message

from ._bench import Bench, Clauses, Seen, expect, read_all, still_works, whatever_comes

__all__ = ["ERRORS"]

ERRORS = Clauses()
_clause = ERRORS.clause


@_clause("errors-pass-through", "an error that the layer cannot mend comes out as the same object", "8.2")
async def _errors_pass_through(bench: Bench) -> None:
    for error in (InvalidRequestError("no such parameter"), LookupError("a bug below")):
        for streams in (False, True):
            stack, _ = bench.stack([error] * 5)
            try:
                await (read_all(stack, bench.request) if streams else stack(bench.request))
            except Exception as seen:  # noqa: BLE001 - the first of them is the finding
                expect(seen is error, f"{error!r} became {seen!r}" if seen != error else f"{error!r} was copied")
            else:
                raise Seen(f"{error!r} was swallowed")
    for streams in (False, True):
        mendable = ServerError("a failure that some layers mend")
        stack, _ = bench.stack([mendable] * 5)
        try:
            await (read_all(stack, bench.request) if streams else stack(bench.request))
        except Exception as seen:  # noqa: BLE001 - compared below
            expect(seen is mendable, f"{mendable!r} became {seen!r}")


class _LeaveError(BaseException):
    """No Exception, as KeyboardInterrupt and SystemExit are none; those would end the loop they strike."""


@_clause(
    "exits-pass-through",
    "what is no Exception (SystemExit, KeyboardInterrupt) comes out: not answered, not tried again, not wrapped",
    "8.5",
)
async def _exits_pass_through(bench: Bench) -> None:
    for streams in (False, True):
        stack, fake = bench.stack([_LeaveError(), *(["hello"] * 4)])
        try:
            await (read_all(stack, bench.request) if streams else stack(bench.request))
        except _LeaveError:
            expect(fake.calls == 1, "the provider was asked again; catch `Exception`, not `BaseException`")
        except Exception as seen:
            raise Seen(f"it became {seen!r}; catch `Exception`, not `BaseException`") from seen
        else:
            raise Seen("it was answered; catch `Exception`, not `BaseException`")


@_clause("free-after-error", "after a failure everything that was held is given back", "4.3")
async def _free_after_error(bench: Bench) -> None:
    script = [InvalidRequestError("bad") for _ in range(12)] + ["hello"] * 20
    stack, fake = bench.stack(script)
    for number in range(12):
        async with whatever_comes():
            await stack(bench.numbered(number))
    expect(fake.in_flight == 0, f"{fake.in_flight} calls of the provider still ran")
    await still_works(stack, bench.numbered(99), "after twelve failures")


@_clause("errors-can-travel", "an error that comes out can be pickled, and is the same in another process", "8.3")
async def _errors_can_travel(bench: Bench) -> None:
    for error in await _provoked(bench):
        try:
            copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own, made here
        except Exception as problem:
            raise Seen(f"{type(error).__name__} cannot be pickled: {problem!r}") from problem
        expect(type(copy) is type(error), f"{type(error).__name__} came back as {type(copy).__name__}")
        expect(str(copy) == str(error), f"the text {str(error)!r} came back as {str(copy)!r}")


_SECRETS = {"prompt": "canary-of-a-prompt", "parameter": "canary-of-a-key", "header": "canary-of-a-header"}


@_clause(
    "secrets-stay-inside",
    "no prompt, parameter or header shows in an error that comes out; no parameter or header in a log",
    "8.4",
)
async def _secrets_stay_inside(bench: Bench) -> None:
    request = bench.request.evolve(
        messages=(*bench.request.messages, Message.user(_SECRETS["prompt"])),
        headers={**bench.request.headers, "x-session": _SECRETS["header"]},
    ).with_params(api_key=_SECRETS["parameter"])
    with _all_logs() as lines:
        errors = await _provoked(Bench(bench.build, request))
    for error in errors:
        told: BaseException | None = error
        while told is not None:
            for what, secret in _SECRETS.items():
                expect(secret not in f"{told} {told!r}", f"{type(told).__name__} shows a {what}")
            told = told.__cause__ or told.__context__
    logged = "\n".join(lines)
    for what in ("parameter", "header"):  # whether prompts are logged is for the user to say
        expect(_SECRETS[what] not in logged, f"a {what} of the request was logged")


async def _provoked(bench: Bench) -> list[LLMError]:
    """What comes out when the provider fails, refuses, is slow, or is cut."""
    script = [ServerError("down"), RateLimitError("slow", retry_after=1e6), [3600.0, "late"], ["par", ServerError("x")]]
    found: list[LLMError] = []
    for item in script:
        stack, _ = bench.stack([item], repeat=True)
        for streams in (False, True):
            deadline = asyncio.get_running_loop().time() + 60
            request = bench.request.evolve(deadline=deadline)
            for number in range(3):
                asked = request.with_params(conformance_number=number)
                async with whatever_comes():
                    try:
                        await (read_all(stack, asked) if streams else stack(asked))
                    except LLMError as error:
                        found.append(error)
        await stack.aclose()
    return found


@contextlib.contextmanager
def _all_logs() -> Iterator[list[str]]:
    """Every record of every level that reaches the root while the block runs, with all its fields."""
    lines: list[str] = []

    class Keeping(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(f"{self.format(record)} {record.__dict__}")

    root, keeping = logging.getLogger(), Keeping(logging.NOTSET)
    before = root.level
    root.addHandler(keeping)
    root.setLevel(logging.DEBUG)
    try:
        yield lines
    finally:
        root.setLevel(before)
        root.removeHandler(keeping)
