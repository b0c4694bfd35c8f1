"""A stack as a picture: SVG by hand, PNG by Pillow (the extra `draw`), from one layout.

    Path("stack.svg").write_text(svg(stack))
    Path("stack.png").write_bytes(png(stack))

A box for each layer, from the caller down to the transport: its name, its settings, what it does, and in its colour what
kind of layer it is. A red number marks what stands wrongly; the reason is at the bottom. The SVG needs nothing from
elsewhere, is light or dark as its reader is, and its text is text.

The one surprise: widths of text are reckoned, not measured, so that the same stack gives the same SVG everywhere.
"""

from __future__ import annotations

from ._png import png
from ._svg import svg

__all__ = ["png", "svg"]
