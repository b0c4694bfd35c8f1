"""What the shipped layers have in common. A layer of yours needs none of it: any callable `Handler -> Handler` is one.

    class Stopwatch(Layer):
        def wrap(self, call_next): ...

The one surprise: `wrap` is the bare layer, `layer(handler)` is the layer alone: it also opens a Call and records the
attempts of the handler below, so that `Retry()(fake)` behaves as it does in a stack.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from ._hints import check_settings
from .edge import standalone
from .protocol import Handler

__all__ = ["Layer"]


class Layer:
    """Base of the shipped layers: subclasses write `wrap`, `stats` for what they count, `effects` for the order."""

    def __new__(cls, *_args: Any, **settings: Any) -> Self:
        """Refuse settings that the layer does not have, with the name that was meant."""
        if settings:
            check_settings(cls, settings)
        return super().__new__(cls)

    def wrap(self, call_next: Handler) -> Handler:
        """The bare layer round *call_next*."""
        raise NotImplementedError

    def __call__(self, call_next: Handler) -> Handler:
        """The layer alone round *call_next*, with a Call and a record of its own where there is none."""
        return standalone(self.wrap, call_next)

    def __repr__(self) -> str:
        import attrs  # loaded by the first layer, not by `import llamina`

        # What differs from the defaults: a picture of a stack is read by people.
        shown = [
            f"{setting.name}={getattr(value, '__name__', None) or repr(value)}"
            for setting in attrs.fields(type(self))  # type: ignore[arg-type]  # every subclass is an attrs class
            if setting.init and setting.repr
            for value, usual in [(getattr(self, setting.name), setting.default)]
            if not is_usual(value, usual)
        ]
        return f"{type(self).__name__}({', '.join(shown)})"

    def stats(self) -> Mapping[str, Any]:
        """What the layer has counted, under dotted names; cheap to read at any time."""
        return {}


def is_usual(value: Any, usual: Any) -> bool:
    """Whether *value* is what a setting with the default *usual* has when nobody sets it."""
    import attrs

    if usual is attrs.NOTHING:
        return False
    if isinstance(usual, attrs.Factory):  # type: ignore[arg-type]
        return not usual.takes_self and repr(usual.factory()) == repr(value)
    return bool(value == usual)
