"""The commands and their options; what they do is in `demo` and `ask`.

    run(["ask", "Why is the sky blue?"])      # 0

A command only reads its options and returns what is to be done; `run` does it, outside of the parser, which has its own
ideas about interrupts and broken pipes.

The one surprise: an error is one line on stderr, or a line for each fault of a file. The parser's own reports of a wrong
option are shortened to that.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

import llamina
from llamina.errors import ConfigurationError

__all__ = ["run"]

Todo = Callable[[], int]

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")


def run(arguments: Sequence[str] | None) -> int:
    """Run the command and return its exit code; errors become one line on stderr."""
    try:
        todo = app(args=None if arguments is None else list(arguments), prog_name="llamina", standalone_mode=False)
        if callable(todo):
            with warnings.catch_warnings():
                warnings.showwarning = _warn  # type: ignore[assignment]  # it takes where as well
                return int(todo())
        return todo if isinstance(todo, int) else 0  # the option parser has its own code for an exit or Ctrl-C
    except (KeyboardInterrupt, BrokenPipeError):
        raise
    except ConfigurationError as error:
        return _complain(str(error), 2, listed=True)
    except Exception as error:
        explain = getattr(error, "format_message", None)
        if explain is not None:  # a wrong use, in the words of the option parser
            return _complain(f"{explain()} (see llamina{_command(error)} --help)", 2)
        if os.environ.get("LLAMINA_TRACEBACK"):
            raise
        return _complain(f"unexpected {type(error).__name__}: {error} (LLAMINA_TRACEBACK=1 shows where)", 1)


def _warn(message: Warning | str, *_where: Any) -> None:
    """The place in our code, and the line there, are nothing to who typed a command."""
    _complain(str(message), 0)


def _complain(text: str, code: int, *, listed: bool = False) -> int:
    lines = text.splitlines() if listed else [text]
    print("llamina:", "\n  ".join([" ".join(line.split()) for line in lines]), file=sys.stderr)
    return code


def _command(error: Any) -> str:
    path = getattr(getattr(error, "ctx", None), "command_path", None) or ""
    return f" {path}".removeprefix(" llamina")


def _version(wanted: bool) -> None:
    if wanted:
        print(f"llamina {llamina.__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def llamina_command(
    context: typer.Context,
    version: Annotated[  # noqa: ARG001 - its callback answers
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Middleware for calls to language models: see the seven layers at work, or put a question through them."""
    if context.invoked_subcommand is None:
        print(context.get_help())


@app.command()
def demo(
    calls: Annotated[int, typer.Option(min=20, max=2000, help="Calls to send.")] = 300,
    seed: Annotated[int, typer.Option(help="Another seed, another traffic; the same seed, the same.")] = 7,
    seconds: Annotated[float, typer.Option(min=1.0, max=600.0, help="Seconds over which they are sent.")] = 9.0,
    plain: Annotated[
        bool, typer.Option("--plain", help="Lines instead of a live display (so also without a terminal).")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print only the summary, as JSON.")] = False,
) -> Todo:
    """Watch seven layers at work, offline, in about ten seconds.

    A scripted traffic goes through Logger, Cache, Dedup, Retry, CostMeter,
    CircuitBreaker and Timeout to a simulated provider on this machine: streams,
    the same question many times, a user whose budget runs out, an outage.

    At the end the numbers of all layers are compared with what the provider
    saw and billed; the exit code is 1 if they do not add up.
    """
    from .demo import show

    return partial(show, calls=calls, seed=seed, seconds=seconds, plain=plain, as_json=as_json)


@app.command()
def ask(
    prompt: Annotated[
        list[str], typer.Argument(metavar="PROMPT", help="The question; - reads it from standard input.")
    ],
    provider: Annotated[
        str | None, typer.Option("--provider", "-p", help="A preset: openai, openrouter, groq, google, ollama, local.")
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", "-m", envvar="LLAMINA_MODEL", help="The model, as the provider names it.")
    ] = None,
    base_url: Annotated[
        str | None, typer.Option(help="Address of any OpenAI-compatible server, like http://127.0.0.1:8000/v1.")
    ] = None,
    api_key_env: Annotated[
        str | None, typer.Option(metavar="NAME", help="The environment variable that holds the key.")
    ] = None,
    system: Annotated[str | None, typer.Option(help="A system message.")] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="The most tokens of an answer.")] = None,
    temperature: Annotated[float | None, typer.Option(min=0.0, help="How freely the model chooses.")] = None,
    timeout: Annotated[
        float | None, typer.Option(min=0.01, show_default="120", help="Seconds for each attempt.")
    ] = None,
    stack: Annotated[
        Path | None, typer.Option("--stack", "-s", metavar="FILE", help="A stack in a TOML file answers.")
    ] = None,
    no_stream: Annotated[bool, typer.Option("--no-stream", help="Print the answer when it is complete.")] = False,
) -> Todo:
    """Put one question and stream the answer to standard output.

    It goes through Logger, Retry, CostMeter and Timeout. Without --provider or
    --base-url the first provider is asked whose key is in the environment;
    without any key an echo answers. With --stack all of that is what the file
    says. A line about tokens, cost, time and attempts goes to standard error.
    """
    from .ask import Question, put

    question = Question(
        prompt=" ".join(prompt),
        provider=provider,
        model=model,
        base_url=base_url,
        api_key_env=api_key_env,
        system=system,
        max_tokens=max_tokens,
        temperature=temperature,
        timeout=timeout,
        streams=not no_stream,
        stack=stack,
    )
    return partial(put, question)


StackFile = Annotated[Path, typer.Argument(metavar="STACK", help="A stack in a TOML file.")]


@app.command()
def check(
    stack: StackFile,
    strict: Annotated[bool, typer.Option("--strict", help="Notes are errors too.")] = False,
) -> Todo:
    """Tell whether a stack file can be loaded and its layers stand in a good order.

    Each finding has its reason and what mends it. The exit code is 1 if an
    order is wrong, 2 if the file cannot be loaded.
    """
    from .inspect import check_file

    return partial(check_file, stack, strict=strict)


@app.command()
def explain(
    stack: StackFile,
    prompt: Annotated[str | None, typer.Option("--prompt", help="Explain what happens to this question.")] = None,
    model: Annotated[str, typer.Option("--model", "-m", envvar="LLAMINA_MODEL", help="Asked of this model.")] = "model",
) -> Todo:
    """Print a stack as a tree, with what each layer does."""
    from .inspect import explain_file

    return partial(explain_file, stack, prompt=prompt, model=model)


@app.command()
def draw(
    stack: StackFile,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A .svg, .png or .mmd file; without it Mermaid is printed.")
    ] = None,
) -> Todo:
    """Draw a stack: as Mermaid, SVG or PNG."""
    from .inspect import draw_file

    return partial(draw_file, stack, output)


@app.command()
def schema(
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where to write it; else it is printed.")
    ] = None,
) -> Todo:
    """Write the JSON schema of stack files, for editors."""
    from .schema import write_schema

    return partial(write_schema, output)


@app.command()
def plugins(
    check: Annotated[bool, typer.Option("--check", help="Run the conformance kit on each.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> Todo:
    """List the layers, transports, stores and backoffs that installed packages bring."""
    from .plugins import list_plugins

    return partial(list_plugins, check=check, as_json=as_json)


new = typer.Typer(no_args_is_help=True, help="Begin a package of your own.")
app.add_typer(new, name="new")


@new.command("layer")
def new_layer(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The layer's name, like rate-limit.")],
    into: Annotated[Path, typer.Option("--into", help="The folder in which the package's folder is made.")] = Path(),
) -> Todo:
    """Write a complete package with one layer: project file, source, tests with the kit, README, CI."""
    from .scaffold import write_layer

    return partial(write_layer, name, into)


@app.command()
def conformance(
    target: Annotated[
        str, typer.Argument(metavar="MODULE:FACTORY", help="What builds the layer, or the name of a plugin.")
    ],
    kind: Annotated[str, typer.Option(help="layer, handler, store or backoff.")] = "layer",
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> Todo:
    """Run the conformance kit on a layer of yours and print each clause of the protocol."""
    from .conformance import report

    return partial(report, target, kind=kind, as_json=as_json)
