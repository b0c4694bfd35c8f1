"""The clauses of the protocol for layers, each played as one situation; the first is the one without which no other is."""

from __future__ import annotations

from ._bench import Clauses
from ._clauses_cancellation import CANCELLATION
from ._clauses_errors import ERRORS
from ._clauses_life import LIFE
from ._clauses_records import RECORDS
from ._clauses_sharing import SHARING
from ._clauses_streams import STREAMS
from ._clauses_values import VALUES

__all__ = ["MIDDLEWARE"]

MIDDLEWARE = Clauses(VALUES, RECORDS, ERRORS, STREAMS, CANCELLATION, SHARING, LIFE)
