"""What comes of a check: a verdict for each clause, and the report that a test fails with."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from attrs import frozen

from llamina.errors import ConfigurationError, LLMError

from ._bench import Clause, Seen
from .simulated_loop import SimulationDeadlock

__all__ = ["Broken", "ConformanceError", "Report", "Verdict", "judge"]


@frozen
class Verdict:
    """Whether one clause held; `seen` says what was seen instead, "" where it held."""

    clause: str
    says: str
    cites: tuple[str, ...]
    seen: str = ""

    @property
    def held(self) -> bool:
        """Whether nothing was found."""
        return not self.seen

    def __str__(self) -> str:
        numbers = f" ({', '.join(self.cites)})" if self.cites else ""
        return f"{self.clause}: {self.says}{numbers}\n    seen: {self.seen}"


Broken = Verdict
"""A verdict of a clause that did not hold, as `ConformanceError.broken` lists them."""


class ConformanceError(AssertionError):
    """What was checked does not keep the protocol; `broken` lists the clauses."""

    def __init__(self, subject: str, broken: list[Verdict], of: str = "the protocol") -> None:
        self.broken = broken
        count = f"{len(broken)} clause{'s' if len(broken) != 1 else ''}"
        told = [f"  {one}" for one in broken] + advice(broken)
        super().__init__(f"{subject} breaks {count} of {of}:\n" + "\n".join(told))


_UNCALLED_FOR = " came out of a call that nothing was wrong with"
_ADVICE = "if calls use up what it has, as those of a quota do: build it with room for a thousand of them"


def advice(broken: Iterable[Verdict]) -> list[str]:
    """What to try first where the kit's own calls were refused, though not the first of them; else nothing."""
    refused = [one for one in broken if one.seen.endswith(_UNCALLED_FOR) and not one.seen.startswith("Stream")]
    return [_ADVICE] if refused else []


@frozen
class Report:
    """The verdicts on one subject, in order. `skipped` clauses were not played: without the first nothing works."""

    subject: str
    of: str
    verdicts: Sequence[Verdict]
    skipped: Sequence[str] = ()

    @property
    def broken(self) -> list[Verdict]:
        """The verdicts that a subject must mend."""
        return [verdict for verdict in self.verdicts if not verdict.held]

    def names(self) -> list[str]:
        """The names of the clauses, all of which held.

        Raises:
            ConformanceError: one did not.
        """
        if self.broken:
            raise ConformanceError(self.subject, self.broken, self.of)
        return [verdict.clause for verdict in self.verdicts]


def judge(
    subject: str,
    entries: Sequence[Clause],
    play: Callable[[Clause], None],
    *,
    only: Iterable[str] | None = None,
    of: str = "the protocol",
    first_is_basic: bool = False,
) -> Report:
    """Play each clause (of those that *only* names) and write down what was seen."""
    chosen = _chosen(entries, only)
    verdicts: list[Verdict] = []
    for place, clause in enumerate(chosen):
        seen = _seen(play, clause)
        if seen and first_is_basic and clause is entries[0]:
            left = [each.name for each in chosen[place + 1 :]]
            seen += f" (the other {len(left)} clauses were not played)" if left else ""
            return Report(subject, of, [Verdict(clause.name, clause.says, clause.cites, seen)], left)
        verdicts.append(Verdict(clause.name, clause.says, clause.cites, seen))
    return Report(subject, of, verdicts)


def _seen(play: Callable[[Clause], None], clause: Clause) -> str:
    try:
        play(clause)
    except Seen as seen:
        return str(seen)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # noqa: BLE001 - whatever is raised is a finding
        if isinstance(error, SimulationDeadlock):
            return f"it waits for ever: {error}"
        where = _UNCALLED_FOR if isinstance(error, LLMError) else ""
        return f"{type(error).__name__}: {error}{where}"
    return ""


def _chosen(entries: Sequence[Clause], only: Iterable[str] | None) -> list[Clause]:
    if only is None:
        return list(entries)
    wanted: list[Any] = [only] if isinstance(only, str) else list(only)
    known = [clause.name for clause in entries]
    for name in wanted:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, 1)
            meant = f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(known)}"
            raise ConfigurationError(f"only= names the clause {name!r}, which the kit does not have{meant}")
    return [clause for clause in entries if clause.name in wanted]
