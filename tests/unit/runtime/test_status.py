"""Every error becomes one status with one ErrorInfo, and the caller gets it back as an error of ours."""

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from hypothesis import given
from hypothesis import strategies as st

from servers.model import errors
from servers.runtime.status import as_refusal, error_info, from_rpc_error, reason_of, to_status

CLASSES = errors.TapelineError.__subclasses__()


def sent(error: errors.TapelineError) -> grpc.aio.AioRpcError:
    """Return what a caller sees of `error`."""
    code, message, metadata = to_status(error)
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(*metadata), message, "")


def plain(code: grpc.StatusCode) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), "no details", "")


@pytest.mark.parametrize("kind", CLASSES)
def test_every_class_of_error_arrives_as_itself(kind: type[errors.TapelineError]) -> None:
    error = kind("FIELD_INVALID", "side is 7", field="side", value=7)
    received = from_rpc_error(sent(error))
    assert type(received) is kind
    assert received.reason == "FIELD_INVALID"
    assert received.message == "side is 7"
    assert received.metadata == {"field": "side", "value": "7"}


def test_the_details_hold_exactly_one_error_info_of_our_domain() -> None:
    code, message, metadata = to_status(errors.NotFound("ORDER_NOT_FOUND"))
    status = status_pb2.Status.FromString(dict(metadata)["grpc-status-details-bin"])
    info = error_details_pb2.ErrorInfo()
    assert len(status.details) == 1
    assert status.details[0].Unpack(info)
    assert (info.reason, info.domain) == ("ORDER_NOT_FOUND", "tapeline")
    assert (code, status.code) == (grpc.StatusCode.NOT_FOUND, 5)
    assert message == status.message == errors.REASONS["ORDER_NOT_FOUND"]


def test_a_reason_that_the_table_lacks_is_a_bug() -> None:
    received = from_rpc_error(sent(errors.NotFound("NO_SUCH_REASON", "secret")))
    assert isinstance(received, errors.Internal)
    assert received.reason == "UNLISTED_REASON"
    assert received.metadata == {"unlisted_reason": "NO_SUCH_REASON"}


def test_an_error_of_no_class_is_a_bug() -> None:
    assert from_rpc_error(sent(errors.TapelineError("FIELD_INVALID"))).reason == "UNLISTED_REASON"


@given(st.text(max_size=5_000), st.dictionaries(st.text(max_size=300), st.text(max_size=5_000), max_size=5))
def test_whatever_the_texts_they_fit_into_a_trailer(message: str, metadata: dict[str, str]) -> None:
    error = errors.InvalidInput("FIELD_INVALID", message.encode("utf-8", "ignore").decode())
    error.metadata = {key.encode("utf-8", "ignore").decode(): value for key, value in metadata.items()}
    _, _, trailers = to_status(error)
    assert len(trailers[0][1]) < 16_000


def test_a_peer_that_does_not_answer_is_unavailable() -> None:
    received = from_rpc_error(plain(grpc.StatusCode.UNAVAILABLE))
    assert isinstance(received, errors.Unavailable)
    assert received.reason == "PEER_UNAVAILABLE"
    cancelled = from_rpc_error(plain(grpc.StatusCode.CANCELLED))
    assert isinstance(cancelled, errors.Unavailable)
    late = from_rpc_error(plain(grpc.StatusCode.DEADLINE_EXCEEDED))
    assert isinstance(late, errors.DeadlineExceeded)


def test_a_peers_refusal_without_a_reason_is_a_bug() -> None:
    received = from_rpc_error(plain(grpc.StatusCode.INVALID_ARGUMENT))
    assert isinstance(received, errors.Internal)
    assert received.reason == "BUG"


def test_reasons_are_read_from_both_kinds_of_error() -> None:
    assert reason_of(errors.NotFound("ORDER_NOT_FOUND")) == "ORDER_NOT_FOUND"
    assert reason_of(sent(errors.NotFound("ORDER_NOT_FOUND"))) == "ORDER_NOT_FOUND"
    assert reason_of(plain(grpc.StatusCode.NOT_FOUND)) == ""
    assert reason_of(ValueError()) == ""
    assert error_info(plain(grpc.StatusCode.NOT_FOUND)) is None


def test_an_unforeseen_error_tells_nothing_but_the_trace() -> None:
    refusal = as_refusal(ValueError("password=1234"), deadline_has_passed=False, trace_id="ab" * 16)
    _, message, metadata = to_status(refusal)
    assert refusal.reason == "BUG"
    assert "ab" * 16 in message
    assert b"1234" not in metadata[0][1]


def test_a_timeout_is_the_callers_only_when_its_time_is_up() -> None:
    late = as_refusal(TimeoutError(), deadline_has_passed=True, trace_id="")
    early = as_refusal(TimeoutError(), deadline_has_passed=False, trace_id="")
    assert isinstance(late, errors.DeadlineExceeded)
    assert early.reason == "BUG"
