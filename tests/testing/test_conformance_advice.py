"""A layer that lets so many calls through meets the kit, which makes many, and says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from llamina import Handler, QuotaExceededError, Request, Response, middleware
from llamina.testing import ConformanceError, check_middleware
from llamina.testing._report import advice

pytest.importorskip("typer")

from llamina.cli.app import run

MODULE = """
from llamina import QuotaExceededError

class Once:
    used = False

    def __call__(self, call_next):
        async def handle(request):
            if self.used:
                raise QuotaExceededError("no call is left")
            self.used = True
            return await call_next(request)

        return handle
"""


class Quota:
    """So many calls, and no more."""

    def __init__(self, left: int) -> None:
        self.left = left

    def __call__(self, call_next: Handler) -> Handler:
        async def handle(request: Request) -> Response:
            if self.left < 1:
                raise QuotaExceededError("no call is left")
            self.left -= 1
            return await call_next(request)

        return handle


def test_a_quota_that_the_kit_uses_up_is_told_to_be_larger() -> None:
    """One call is left, the kit makes some hundred: it is no fault of the layer."""
    with pytest.raises(ConformanceError, match=r"build it with room for a thousand of them$"):
        check_middleware(lambda: Quota(1))

    assert check_middleware(lambda: Quota(1000))


def test_a_layer_that_refuses_nothing_gets_no_such_advice() -> None:
    """Its faults are of another kind."""

    @middleware
    async def wrong(request: Request, call_next: Handler) -> Response:
        try:
            return await call_next(request)
        except Exception as error:
            raise RuntimeError("wrapped") from error

    with pytest.raises(ConformanceError) as caught:
        check_middleware(lambda: wrong)

    assert not advice(caught.value.broken)
    assert "use up" not in str(caught.value)


def test_the_command_says_it_below_the_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the function does."""
    name = f"advice_of_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)

    assert run(["conformance", f"{name}:Once"]) == 1

    assert "if calls use up what it has" in capsys.readouterr().out
