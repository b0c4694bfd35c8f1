"""`llamina ask`: one prompt through a default stack, the answer streamed to standard output as it comes.

    put(Question("Why is the sky blue?"))       # 0; 1 for a call that failed

The answer, and nothing else, goes to standard output, so that it can be piped; what there is to say about it goes to
standard error.

The one surprise: where the answer goes to a terminal, control characters in it are dropped: a model cannot move the
cursor or set the title of a window.
"""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import os
import re
import sys
from pathlib import Path
from typing import Any

from attrs import frozen

from llamina.config import load_stack
from llamina.errors import (
    AuthenticationError,
    ConfigurationError,
    LLMError,
    NetworkError,
    NotFoundError,
    RequestTimeoutError,
)
from llamina.layers.cost import CostMeter
from llamina.layers.logger import Logger
from llamina.layers.retry import Retry
from llamina.layers.timeout import Timeout
from llamina.messages import Message
from llamina.policy.classify import default_classifier, wait_hint
from llamina.protocol import Handler, Middleware, Request, Response
from llamina.stack import Stack, build_stack
from llamina.transports import EchoTransport, HTTPTransport, presets

__all__ = ["Question", "put"]


@frozen
class Question:
    """What is asked, of whom, and how the answer is wanted; the fields are the options of the command."""

    prompt: str
    provider: str | None = None
    model: str | None = None
    base_url: str | None = None
    api_key_env: str | None = None
    system: str | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    timeout: float | None = None
    streams: bool = True
    stack: Path | None = None


def put(question: Question) -> int:
    """Ask, print, and return the exit code.

    Raises:
        ConfigurationError: no model is named, a key is missing, an option makes no sense.
    """
    prompt = _read_prompt(question.prompt)
    # The command says itself what went wrong; a warning of a library on top would say it twice.
    logging.getLogger("llamina").addHandler(logging.NullHandler())
    stack, model = _own_stack(question) if question.stack is None else _stack_of_file(question, question.stack)
    return asyncio.run(_converse(stack, _request(question, model, prompt), streams=question.streams))


def _own_stack(question: Question) -> tuple[Stack, str]:
    transport, model = find_terminal(question)
    layers: list[Middleware] = [Logger(), Retry(retry_on=_told_of)]
    if importlib.util.find_spec("genai_prices") is not None and not isinstance(transport, EchoTransport):
        layers.append(CostMeter())
    layers.append(Timeout(120.0 if question.timeout is None else question.timeout))
    return build_stack(layers, transport), model


def _stack_of_file(question: Question, path: Path) -> tuple[Stack, str]:
    said = {
        "--provider": question.provider,
        "--base-url": question.base_url,
        "--api-key-env": question.api_key_env,
        "--timeout": question.timeout,
    }
    if doubled := [option for option, value in said.items() if value is not None]:
        raise ConfigurationError(
            f"{' and '.join(doubled)} cannot stand beside --stack; say it in {path}, or leave --stack out"
        )
    if (folder := str(Path.cwd())) not in sys.path:
        sys.path.append(folder)  # a file may name layers in modules that lie beside it
    stack = load_stack(path)
    terminal = stack.transport
    while isinstance(terminal, Stack):
        terminal = terminal.transport
    if question.model is None and not isinstance(terminal, EchoTransport):
        raise ConfigurationError(f"no model is named for {path}; write --model NAME, or export LLAMINA_MODEL")
    return stack, question.model or "echo"


def _read_prompt(prompt: str) -> str:
    if prompt == "-":
        prompt = sys.stdin.buffer.read().decode("utf-8", "replace").removesuffix("\n")
    if not prompt.strip():
        raise ConfigurationError('the prompt is empty; write llamina ask "Why is the sky blue?"')
    return prompt


def find_terminal(question: Question) -> tuple[Handler, str]:
    """Who answers, and which model is asked for.

    Raises:
        ConfigurationError: no model is named, or a key is missing.
    """
    key = _key(question.api_key_env)
    provider = question.provider
    if provider is None and question.base_url is None:
        found = [name for name, preset in presets().items() if preset.key_names and preset.find_key()]
        if not found and key is None:
            _note("no provider is named and no key is set: an echo answers (see llamina ask --help)")
            return EchoTransport(piece_delay=0.02), question.model or "echo"
        provider = found[0] if found and key is None else "openai"
    if question.base_url is None:
        preset = presets().get(provider or "")
        if preset is None:
            raise ConfigurationError(
                f"{provider!r} is no provider that is known; use one of {', '.join(presets())}, or name --base-url"
            )
        if key is None and preset.needs_key and not preset.find_key():
            raise ConfigurationError(
                f"there is no key for {provider}; export {' or '.join(preset.key_names)}, "
                "or name the variable that holds it with --api-key-env"
            )
    settings: dict[str, Any] = {} if question.base_url is None else {"base_url": question.base_url}
    transport = HTTPTransport(api_key=key, provider=provider or "", **settings)
    if question.model is None:
        raise ConfigurationError(
            f"no model is named for {transport.provider}; write --model NAME, or export LLAMINA_MODEL"
        )
    return transport, question.model


def _key(variable: str | None) -> str | None:
    if variable is None:
        return None
    key = os.environ.get(variable, "").strip()
    if not key:
        # What is no usual name of a variable may be the key itself, typed by mistake: it is not repeated.
        if _VARIABLE.fullmatch(variable):
            raise ConfigurationError(f"--api-key-env names {variable}, which is not set; export {variable}=...")
        raise ConfigurationError("--api-key-env takes the NAME of an environment variable that is set, not a key")
    return key


_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]{0,63}")


def _request(question: Question, model: str, prompt: str) -> Request:
    messages = [] if question.system is None else [Message.system(question.system)]
    limits = {"max_tokens": question.max_tokens, "temperature": question.temperature}
    params: dict[str, Any] = {name: value for name, value in limits.items() if value is not None}
    return Request.chat(model, [*messages, Message.user(prompt)], **params)


async def _converse(stack: Stack, request: Request, *, streams: bool) -> int:
    loop = asyncio.get_running_loop()
    started = loop.time()
    priced = any([isinstance(layer, CostMeter) for layer in stack.layers])
    async with stack:
        try:
            response = await _print_answer(stack, request, streams=streams)
        except LLMError as error:
            _complain(error)
            return 1
    _note(describe(response, loop.time() - started, priced=priced))
    return 0


async def _print_answer(stack: Stack, request: Request, *, streams: bool) -> Response:
    printer = _Printer()
    try:
        if not streams:
            response = await stack(request)
            printer.write(response.text)
            return response
        async with stack.stream(request) as stream:
            async for event in stream:
                printer.write(event.text)
        return stream.response
    finally:
        printer.end()


class _Printer:
    """Writes an answer to standard output as it comes, and ends its last line."""

    def __init__(self) -> None:
        stdout = sys.stdout
        reconfigure = getattr(stdout, "reconfigure", None)
        if reconfigure is not None:  # what the terminal cannot show must not end the answer
            reconfigure(errors="replace")
        self._guards = stdout.isatty()
        self._line_is_open = False

    def write(self, text: str) -> None:
        if self._guards:
            text = "".join([letter for letter in text if letter in "\n\t" or not _controls(letter)])
        if text:
            sys.stdout.write(text)
            sys.stdout.flush()
            self._line_is_open = not text.endswith("\n")

    def end(self) -> None:
        if self._line_is_open:
            self.write("\n")


def _controls(letter: str) -> bool:
    return letter < " " or "\x7f" <= letter < "\xa0"


def describe(response: Response, seconds: float, *, priced: bool) -> str:
    """One line about an answer: tokens, cost of all attempts if it is known, seconds, attempts, the model."""
    attempts = response.call.attempts
    usage = response.usage or response.call.usage
    facts = [f"{'' if response.usage else 'about '}{usage.input_tokens} + {usage.output_tokens} tokens"]
    if priced:
        unknown = any([attempt.cost is None for attempt in attempts])
        about = "" if response.call.cost_complete else "about "
        facts.append("price unknown" if unknown else f"{about}{response.call.cost:f} USD")
    facts.append(f"{seconds:.1f} s")
    facts.append("1 attempt" if len(attempts) == 1 else f"{len(attempts)} attempts")
    facts.append(response.model)
    if response.finish_reason not in ("stop", None):
        facts.append(f"ended by {response.finish_reason}")
    if not response.text:
        facts.append("no text")
    return " · ".join(facts)


def _complain(error: LLMError) -> None:
    attempts = len(error.call.attempts) if error.call is not None else 0
    tried = f" after {attempts} attempts" if attempts > 1 else ""
    print(f"llamina: {type(error).__name__}{tried}: {_one_line(str(error))}{_remedy(error)}", file=sys.stderr)


def _told_of(error: BaseException) -> bool:
    """Whether *error* is worth another try; whoever waits at a terminal sees why he waits."""
    worth = default_classifier(error)
    if worth and sys.stderr.isatty():
        hint = wait_hint(error)
        wait = "" if hint is None else f", and asks to wait {hint:.3g} s"
        _note(f"a try failed: {type(error).__name__}{wait}")
    return worth


def _remedy(error: LLMError) -> str:
    if isinstance(error, AuthenticationError):
        return "; check the key"
    if isinstance(error, NotFoundError):
        return "; check --model and --base-url"
    if isinstance(error, RequestTimeoutError):
        return "; --timeout sets the limit"
    if isinstance(error, NetworkError) and not error.processed:
        return "; is the server running, and --base-url right?"
    return "; the answer is not complete" if error.partial is not None else ""


def _one_line(text: str) -> str:
    """*text* on one line: what a server wrote must not look like a second message, nor steer the terminal."""
    return " ".join("".join([" " if _controls(letter) else letter for letter in text]).split())


def _note(text: str) -> None:
    """A remark on standard error, dim where that is a terminal."""
    text = _one_line(text)
    dim = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
    print(f"\x1b[2m{text}\x1b[0m" if dim else text, file=sys.stderr)
