"""Hints for settings that are spelt otherwise: `Retry(max_attempts=3)` has no such setting, but knows what was meant.

check_settings(Retry, {"max_attempts": 3})     # TypeError: Retry has no setting 'max_attempts'; did you mean 'attempts'?
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["check_settings", "no_field"]


def check_settings(kind: type, given: Iterable[str]) -> None:
    """Refuse names that are no settings of the attrs class *kind*.

    Raises:
        TypeError: there is one; the message has the nearest name, or all.
    """
    import attrs  # loaded by the first layer, not by `import llamina`

    if not attrs.has(kind):
        return
    known = [setting.alias or setting.name for setting in attrs.fields(kind) if setting.init]
    for name in given:
        if name not in known:
            import difflib

            near = [each for each in known if each in name or name in each] or difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(known)}"
            raise TypeError(f"{kind.__name__} has no setting {name!r}; {hint}")


def no_field(kind: Any, changes: Mapping[str, Any], remedy: str) -> TypeError | None:
    """The error for the first of *changes* that is no field of the struct *kind*: the nearest field, else *remedy*."""
    known = [name for name in kind.__struct_fields__ if not name.startswith("_")]
    unknown = next((name for name in changes if name not in kind.__struct_fields__), None)
    if unknown is None:
        return None
    import difflib

    near = difflib.get_close_matches(unknown, known, 1)
    hint = f"did you mean {near[0]!r}?" if near else remedy.format(unknown)
    return TypeError(f"a {kind.__name__} has no field {unknown!r}; {hint}")
