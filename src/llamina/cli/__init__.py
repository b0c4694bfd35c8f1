"""The command line: `llamina demo` shows the seven layers at work, `llamina ask` puts one question.

    llamina demo                                        # offline, about ten seconds
    llamina ask "Why is the sky blue?"                  # without a key an echo answers, and says so
    llamina ask --provider groq --model NAME "..."      # the key from GROQ_API_KEY

Exit codes: 0; 1 for a call that failed, or a demo whose sums do not add up; 2 for a wrong use of the command; 130 after
Ctrl-C; 141 when the reader of a pipe has left.

The one surprise: it needs the extra `cli` (typer and rich); without it, it says so in one line and exits with 2.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

__all__ = ["main"]

INTERRUPTED = 130
READER_LEFT = 141


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with *arguments* (those of the process where left out) and return its exit code."""
    try:
        try:
            import rich  # noqa: F401 - looked for before anything is drawn
            import typer  # noqa: F401
        except ImportError:
            print('llamina: the command line needs typer and rich: pip install "llamina[cli]"', file=sys.stderr)
            return 2
        from .app import run

        code = run(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Python flushes stdout once more when it ends, and would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return READER_LEFT
    return code
