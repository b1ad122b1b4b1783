"""Errors as gRPC statuses with exactly one `google.rpc.ErrorInfo`, and back.

The status code comes from the error's class, the reason from `servers.model.errors.REASONS`. What is not
a `TapelineError` is a bug: it is answered as `INTERNAL / BUG` and nothing of it leaves the process but
the trace id.
"""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2

from servers.model import errors

DOMAIN = "tapeline"
DETAILS_KEY = "grpc-status-details-bin"
MAX_MESSAGE_CHARACTERS = 1000
MAX_METADATA_CHARACTERS = 200
_ERROR_INFO_URL = "type.googleapis.com/google.rpc.ErrorInfo"

_CODES = {code.name: code for code in grpc.StatusCode}
_CLASSES: dict[str, type[errors.TapelineError]] = {
    kind.status: kind for kind in errors.TapelineError.__subclasses__()
}

Metadata = tuple[tuple[str, bytes], ...]


def to_status(error: errors.TapelineError) -> tuple[grpc.StatusCode, str, Metadata]:
    """Return code, message and trailing metadata of a refusal."""
    reason = error.reason
    if reason not in errors.REASONS or error.status not in _CLASSES:
        return to_status(errors.Internal("UNLISTED_REASON", unlisted_reason=reason))
    code = _CODES[error.status]
    message = _clipped(error.message, MAX_MESSAGE_CHARACTERS)
    info = error_details_pb2.ErrorInfo(
        reason=reason,
        domain=DOMAIN,
        metadata={
            _clipped(key, MAX_METADATA_CHARACTERS): _clipped(value, MAX_METADATA_CHARACTERS)
            for key, value in error.metadata.items()
        },
    )
    packed = any_pb2.Any(type_url=_ERROR_INFO_URL, value=info.SerializeToString())
    status = status_pb2.Status(code=code.value[0], message=message, details=[packed])
    return code, message, ((DETAILS_KEY, status.SerializeToString()),)


def from_rpc_error(error: grpc.aio.AioRpcError) -> errors.TapelineError:
    """Return what a peer answered as one of our errors.

    An answer without a reason of ours keeps its class, under `PEER_UNAVAILABLE` or `BUG`.
    """
    code = error.code().name
    kind = _CLASSES.get(code, errors.Internal)
    info = error_info(error)
    if info is not None and info.reason in errors.REASONS:
        return kind(info.reason, error.details() or "", **dict(info.metadata))
    if code in ("UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "CANCELLED"):
        if kind is errors.Internal:
            kind = errors.Unavailable
        return kind("PEER_UNAVAILABLE", f"a peer did not answer: {error.details()}", peer_status=code)
    return errors.Internal("BUG", "a peer refused an internal call", peer_status=code)


def error_info(error: grpc.RpcError) -> error_details_pb2.ErrorInfo | None:
    """Return the `ErrorInfo` of our domain that a call's error carries, or None."""
    trailing: Any = error.trailing_metadata() or ()
    for key, value in trailing:
        if key == DETAILS_KEY:
            status = status_pb2.Status.FromString(value)
            for detail in status.details:
                info = error_details_pb2.ErrorInfo()
                if detail.Unpack(info) and info.domain == DOMAIN:
                    return info
    return None


def reason_of(error: BaseException) -> str:
    """Return the reason in an error of a call or of ours, empty when there is none."""
    if isinstance(error, errors.TapelineError):
        return error.reason
    if isinstance(error, grpc.RpcError):
        info = error_info(error)
        return "" if info is None else info.reason
    return ""


def as_refusal(error: Exception, *, deadline_has_passed: bool, trace_id: str) -> errors.TapelineError:
    """Return the refusal that answers `error`; `Internal("BUG")` for what nobody foresaw."""
    if isinstance(error, errors.TapelineError):
        return error
    if isinstance(error, grpc.aio.AioRpcError):
        return from_rpc_error(error)
    if deadline_has_passed and isinstance(error, asyncio.TimeoutError):
        return errors.DeadlineExceeded("DEADLINE_TOO_SHORT", "the caller's time ran out in this server")
    return errors.Internal("BUG", f"an unexpected error; look for trace {trace_id}", trace_id=trace_id)


def _clipped(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
