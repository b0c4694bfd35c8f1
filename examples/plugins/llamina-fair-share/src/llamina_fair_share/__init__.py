"""At most so many calls in flight, shared fairly between tenants.

    stack = build_stack([Retry(), FairShare(limit=16, queue=200, max_wait=30), Timeout(60)], transport)

Where calls wait, the next free place goes to the tenant that has the fewest calls in flight; between tenants that have
the same number, to the one that was served least lately. A tenant that sends a thousand calls at once so keeps
no other from its answers. The queue is bounded: what comes when it is full is refused at once, with an error that
`Retry` understands.

The one surprise: a stream keeps its place until it has ended, however slowly it is read.
"""

from __future__ import annotations

from .layer import FairShare
from .queue import FairQueue, QueueFullError

__all__ = ["FairQueue", "FairShare", "QueueFullError"]
