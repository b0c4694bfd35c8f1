"""Failures on Anthropic's wire: the body of an error as one of our errors, and back.

    {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}, "request_id": "req_1"}

Which of several things a status means is said in `error.details.error_code`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from llamina.errors import LLMError
from llamina.messages import Usage

from . import _openai_errors as general

__all__ = ["decode_error", "encode_error", "error_in_success"]

_KINDS = {"server_error": "api_error", "insufficient_quota": "billing_error"}
"""Words of this wire for those of the general table; the others are the same."""


def decode_error(
    status: int,
    body: bytes,
    headers: Mapping[str, str],
    *,
    provider: str | None = None,
    model: str | None = None,
    secrets: tuple[str, ...] = (),
) -> LLMError:
    """The error that a failed request says, whether its body is JSON, HTML or nothing."""
    try:
        said = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        said = None
    name = None
    if isinstance(said, Mapping) and isinstance(said.get("error"), Mapping):
        body = msgspec.json.encode({"error": _with_code(said["error"])})
        name = said.get("request_id")
    error = general.decode_error(status, body, headers, provider=provider, model=model, secrets=secrets)
    if error.request_id is None and isinstance(name, str):
        error.request_id = general.masked(name, secrets)[:100] or None
    return error


def error_in_success(
    body: Mapping[str, Any],
    *,
    provider: str | None = None,
    model: str | None = None,
    usage: Usage | None = None,
    partial: Any = None,
    request_id: str | None = None,
    secrets: tuple[str, ...] = (),
) -> LLMError:
    """The error that the body of a success, or an event in a stream, says: classified by its type."""
    name = body.get("request_id")
    if request_id is None and isinstance(name, str):
        request_id = general.masked(name, secrets)[:100] or None
    return general.error_in_success(
        _with_code(body.get("error")),
        provider=provider,
        model=model,
        usage=usage,
        partial=partial,
        request_id=request_id,
        secrets=secrets,
    )


def _with_code(failure: Any) -> Any:
    """The error with the code of its details where the general table looks for one."""
    if not isinstance(failure, Mapping) or not isinstance(failure.get("details"), Mapping):
        return failure
    return {"code": failure["details"].get("error_code"), **failure}


def encode_error(error: LLMError) -> tuple[int, dict[str, str], dict[str, Any]]:
    """The status, the headers and the JSON body with which a server says *error*."""
    status, headers, body = general.encode_error(error)
    said = body["error"]
    kind = _KINDS.get(said["type"], said["type"])
    if kind == "billing_error" and error.status is None:
        status = 402
    failure: dict[str, Any] = {"type": kind, "message": said["message"]}
    code = said["code"]
    # A word that is a type of this wire says no more than the type does.
    if code is not None and not code.endswith("_error"):
        failure["details"] = {"error_code": code}
    name = headers.pop("x-request-id", None)
    if name is not None:
        headers["request-id"] = name
    return status, headers, {"type": "error", "error": failure, "request_id": name}
