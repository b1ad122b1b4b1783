"""Every error that a server can return, as one tree and one table.

    TapelineError
    ├── InvalidInput         INVALID_ARGUMENT      the request can never succeed as it stands
    ├── NotFound             NOT_FOUND             what the request names does not exist
    ├── AlreadyExists        ALREADY_EXISTS        the id is taken by other content
    ├── FailedPrecondition   FAILED_PRECONDITION   not in this state; retry after the state changed
    ├── OutOfRange           OUT_OF_RANGE          past the end, or behind what a stream still holds
    ├── Unauthenticated      UNAUTHENTICATED       no acceptable identity
    ├── PermissionDenied     PERMISSION_DENIED     the identity lacks the role
    ├── ResourceExhausted    RESOURCE_EXHAUSTED    a limit on load or size; back off
    ├── DeadlineExceeded     DEADLINE_EXCEEDED     the caller's time is used up
    ├── Unavailable          UNAVAILABLE           try again under the same id
    └── Internal             INTERNAL              a bug on our side

A *refused request* raises one of these with a reason from `REASONS`; a *rejected order* is a value
(see `servers.model.order`), because the journal keeps it. A reason that is not in the table is a
bug, and the runtime answers `INTERNAL / UNLISTED_REASON` for it.
"""

from __future__ import annotations

from collections.abc import Mapping


class TapelineError(Exception):
    """A refusal that a program can read.

    Args:
        reason: one `UPPER_SNAKE` word out of `REASONS`.
        message: one sentence for people: what, where and why.
        metadata: facts that a program may want (field, value, bound), all as text.
    """

    status = "UNKNOWN"

    def __init__(self, reason: str, message: str = "", **metadata: object) -> None:
        super().__init__(message or REASONS.get(reason, reason))
        self.reason = reason
        self.message = message or REASONS.get(reason, reason)
        self.metadata: Mapping[str, str] = {key: str(value) for key, value in metadata.items()}


class InvalidInput(TapelineError):
    """The request can never succeed as it stands."""

    status = "INVALID_ARGUMENT"


class NotFound(TapelineError):
    """What the request names does not exist."""

    status = "NOT_FOUND"


class AlreadyExists(TapelineError):
    """The id is taken by other content."""

    status = "ALREADY_EXISTS"


class FailedPrecondition(TapelineError):
    """Not possible in the present state."""

    status = "FAILED_PRECONDITION"


class OutOfRange(TapelineError):
    """Past the end, or behind what a stream still holds."""

    status = "OUT_OF_RANGE"


class Unauthenticated(TapelineError):
    """The caller has no acceptable identity."""

    status = "UNAUTHENTICATED"


class PermissionDenied(TapelineError):
    """The caller's identity lacks the role that the method asks for."""

    status = "PERMISSION_DENIED"


class ResourceExhausted(TapelineError):
    """A limit on load or size is reached; back off."""

    status = "RESOURCE_EXHAUSTED"


class DeadlineExceeded(TapelineError):
    """The caller's time is used up."""

    status = "DEADLINE_EXCEEDED"


class Unavailable(TapelineError):
    """Not now; the same request may be sent again under the same id."""

    status = "UNAVAILABLE"


class Internal(TapelineError):
    """A bug on our side."""

    status = "INTERNAL"


REASONS: Mapping[str, str] = {
    # Requests in general
    "MALFORMED_MESSAGE": "the bytes are not a message of this type",
    "MESSAGE_TOO_LARGE": "the message is above the size limit",
    "FIELD_MISSING": "a required field is empty",
    "FIELD_INVALID": "a field has a value that is not allowed",
    "ENUM_UNSPECIFIED": "an enum field is unspecified or unknown",
    "VALUE_OUT_OF_RANGE": "a number is outside its stated range",
    "REQUEST_ID_MISSING": "a request that changes something needs a request id",
    "REQUEST_ID_REUSED": "the id was used before with other content",
    "PAGE_SIZE_INVALID": "page_size is negative or above its maximum",
    "PAGE_TOKEN_INVALID": "page_token was not issued for this list",
    "TIME_RANGE_INVALID": "the time range is empty or reversed",
    # Identity and load
    "NO_CLIENT_CERTIFICATE": "the call carries no client certificate",
    "ROLE_MISSING": "the identity has no role that may call this method",
    "OVERLOADED": "the server is at its concurrency limit",
    "DEADLINE_TOO_SHORT": "the deadline had passed or left no time when the call arrived",
    "SHUTTING_DOWN": "the server is draining",
    "NOT_READY": "the server is still restoring its state",
    "PEER_UNAVAILABLE": "a server that this call depends on did not answer",
    "UNLISTED_REASON": "the server raised a reason that its table does not list: a bug",
    "BUG": "an unexpected error: a bug",
    # State and streams
    "STREAM_TOO_SLOW": "the reader fell behind and was cut off; catch up by list",
    "SEQUENCE_AHEAD": "resume_after_sequence is above the owner's last sequence",
    "SEQUENCE_EXPIRED": "resume_after_sequence is older than what the stream still holds",
    "STALE_EPOCH": "another writer has taken over",
    "JOURNAL_CORRUPT": "the journal's checksums or hash chain do not hold",
    "JOURNAL_FAILED": "the journal could not be synced",
    "DISK_FULL": "no space is left for the journal or the tape",
    # Reference data and market
    "SYMBOL_UNKNOWN": "no such instrument",
    "CALENDAR_UNKNOWN": "no such exchange calendar",
    "ACCOUNT_UNKNOWN": "no such account",
    "NO_MARKET_DATA": "nothing is known of the symbol's market yet",
    "MARKET_CLOSED": "the market's phase does not allow this",
    "INDICATOR_UNKNOWN": "no such indicator",
    "POST_UNKNOWN": "no such post",
    "FILE_MALFORMED": "a data file has a row that cannot be read",
    # Orders and executions
    "ORDER_NOT_FOUND": "no such order",
    "ORDER_FINAL": "the order is in a final state",
    "ORDER_PENDING": "a cancel or replace of this order is already pending",
    "EXECUTION_NOT_FOUND": "no such execution",
    "EXECUTION_FINAL": "the execution is in a final state",
    "EXECUTION_STATE": "the execution is in a state that does not allow this",
    "EXPERIMENT_CHANGED": "the experiment was begun with other content",
    "EXPERIMENT_NOT_FOUND": "no parent order takes part in an experiment of this name",
    "HORIZON_INVALID": "the horizon is empty, too long or past the close",
    "RISK_UNAVAILABLE": "risk cannot answer, so nothing is routed",
    "KILL_SWITCH_ON": "the kill switch is on",
    "CORPORATE_ACTION_INVALID": "the corporate action cannot be applied",
    "DECISION_NOT_FOUND": "no such decision",
    "DECISION_STATE": "the decision is in a state that does not allow this",
    # Signals
    "SIGNAL_NOT_FOUND": "no such signal, or it is no longer the present one",
    "MODEL_INVALID": "the file of the predictive model cannot be used",
    # Intelligence
    "ROLLOUT_STATE": "the roll-out is in a state that does not allow this",
    "MODEL_VERSION_UNAVAILABLE": "Triton does not serve this version of the model",
}
"""Reason -> what it means. The one list of refusals; `docs/errors.md` is generated from it."""
