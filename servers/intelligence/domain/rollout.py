"""Which version answers whom: the state of a roll-out as a fold over its events."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import IntEnum

from servers.intelligence.domain.assignment import is_candidates
from servers.model.errors import FailedPrecondition, InvalidInput

AUTOMATIC = "automatic"


class Stage(IntEnum):
    """Share of entities that the candidate answers; numbered as on the wire."""

    SHADOW = 1
    PERCENT_1 = 2
    PERCENT_5 = 3
    PERCENT_25 = 4
    PERCENT_50 = 5
    PERCENT_100 = 6

    @property
    def share(self) -> float:
        """The share, 0 to 1."""
        return _SHARES[self]

    @property
    def next(self) -> Stage | None:
        """The stage after this one; None after the last."""
        return None if self is Stage.PERCENT_100 else Stage(self + 1)


_SHARES = {
    Stage.SHADOW: 0.0,
    Stage.PERCENT_1: 0.01,
    Stage.PERCENT_5: 0.05,
    Stage.PERCENT_25: 0.25,
    Stage.PERCENT_50: 0.5,
    Stage.PERCENT_100: 1.0,
}


class State(IntEnum):
    """How an experiment stands; numbered as on the wire."""

    IDLE = 1
    RUNNING = 2
    SUSPENDED = 3
    ROLLED_BACK = 4
    PROMOTED = 5


class EventKind(IntEnum):
    """What happened; numbered as on the wire."""

    STARTED = 1
    STAGE_CHANGED = 2
    PROMOTED = 3
    ROLLED_BACK = 4
    LLM_SWITCHED_OFF = 5
    LLM_SWITCHED_ON = 6


class Action(IntEnum):
    """What a person asks for; numbered as on the wire."""

    START = 1
    SET_STAGE = 2
    PROMOTE = 3
    ROLL_BACK = 4
    SWITCH_LLM_OFF = 5
    SWITCH_LLM_ON = 6


@dataclass(frozen=True, slots=True)
class Plan:
    """What is written down before the start; see `RolloutPlan` of the contract."""

    alpha: float = 0.05
    min_agreement: float = 0.9
    max_error_rate: float = 0.01
    max_latency_ratio: float = 1.5
    non_inferiority_margin: float = 0.02
    min_comparisons: int = 200
    min_stage_seconds: float = 600.0
    comparison_share: float = 0.1
    is_automatic: bool = True

    def validate(self) -> Plan:
        """Return the plan, or raise InvalidInput that names the field."""
        for name, low, high in (
            ("alpha", 0.001, 0.2),
            ("min_agreement", 0.01, 0.999),
            ("max_error_rate", 0.001, 0.5),
            ("max_latency_ratio", 1.0, 10.0),
            ("non_inferiority_margin", 0.001, 0.2),
            ("min_comparisons", 10, 1_000_000),
            ("min_stage_seconds", 0.0, 30 * 86_400.0),
            ("comparison_share", 0.0, 1.0),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise InvalidInput(
                    "VALUE_OUT_OF_RANGE", f"plan.{name} is {value}, outside {low} to {high}", field=name
                )
        return self


@dataclass(frozen=True, slots=True)
class Change:
    """What a person asks of the roll-out."""

    action: Action
    reason: str
    candidate_version: str = ""
    stage: Stage = Stage.SHADOW
    plan: Plan = field(default_factory=Plan)


@dataclass(frozen=True, slots=True)
class Event:
    """One change as it is journalled. `figures` are those of the contract, ready for the wire."""

    kind: EventKind
    stable_version: str
    reason: str
    set_by: str
    create_time_nanos: int
    experiment: str = ""
    candidate_version: str = ""
    stage: Stage = Stage.SHADOW
    plan: Plan = field(default_factory=Plan)
    figures: Figures | None = None
    sequence: int = 0


@dataclass(frozen=True, slots=True)
class Figures:
    """What has been seen of a candidate; see `RolloutFigures` of the contract."""

    candidate_calls: int = 0
    candidate_failures: int = 0
    stable_calls: int = 0
    stable_failures: int = 0
    comparisons: int = 0
    agreements: int = 0
    candidate_p95_seconds: float = 0.0
    stable_p95_seconds: float = 0.0
    agreement_evidence: float = 1.0
    error_evidence: float = 1.0
    latency_evidence: float = 1.0
    labelled_texts: int = 0
    candidate_accuracy: float = 0.0
    stable_accuracy: float = 0.0
    accuracy_evidence: float = 1.0
    calibration_evidence: float = 1.0
    assigned_entities: int = 0
    candidate_entities: int = 0
    sample_ratio_evidence: float = 1.0


@dataclass(frozen=True, slots=True)
class Rollout:
    """The state after all events so far."""

    stable_version: str
    candidate_version: str = ""
    experiment: str = ""
    state: State = State.IDLE
    stage: Stage = Stage.SHADOW
    plan: Plan = field(default_factory=Plan)
    stage_since_nanos: int = 0
    is_llm_on: bool = True
    sequence: int = 0

    def is_candidates(self, salt: str, entity: str) -> bool:
        """Return whether the candidate answers an entity now."""
        return self.state is State.RUNNING and is_candidates(self.experiment, salt, entity, self.stage.share)

    @property
    def is_on_trial(self) -> bool:
        return self.state in (State.RUNNING, State.SUSPENDED)


def apply(rollout: Rollout, event: Event) -> Rollout:
    """Return the state after an event."""
    after = replace(rollout, sequence=max(rollout.sequence, event.sequence))
    if event.kind in (EventKind.LLM_SWITCHED_OFF, EventKind.LLM_SWITCHED_ON):
        return replace(after, is_llm_on=event.kind is EventKind.LLM_SWITCHED_ON)
    states = {EventKind.PROMOTED: State.PROMOTED, EventKind.ROLLED_BACK: State.ROLLED_BACK}
    return replace(
        after,
        stable_version=event.stable_version,
        candidate_version=event.candidate_version,
        experiment=event.experiment,
        state=states.get(event.kind, State.RUNNING),
        stage=event.stage,
        plan=event.plan,
        stage_since_nanos=event.create_time_nanos,
    )


def decide(rollout: Rollout, change: Change, set_by: str, now_nanos: int) -> Event | None:
    """Return the event that a change makes; None when it is so already.

    Raises InvalidInput for a change that can never be, FailedPrecondition ROLLOUT_STATE for one that
    cannot be now.
    """
    action = change.action
    if action in (Action.SWITCH_LLM_OFF, Action.SWITCH_LLM_ON):
        is_on = action is Action.SWITCH_LLM_ON
        if rollout.is_llm_on == is_on:
            return None
        kind = EventKind.LLM_SWITCHED_ON if is_on else EventKind.LLM_SWITCHED_OFF
        return Event(kind, rollout.stable_version, change.reason, set_by, now_nanos)
    if action is Action.START:
        if rollout.is_on_trial:
            raise FailedPrecondition(
                "ROLLOUT_STATE", f"version {rollout.candidate_version} is on trial; roll it back first"
            )
        if not change.candidate_version.isdigit() or len(change.candidate_version) > 18:
            raise InvalidInput(
                "FIELD_INVALID", "candidate_version is a version number of the model repository",
                field="candidate_version",
            )  # fmt: skip
        if change.candidate_version == rollout.stable_version:
            raise FailedPrecondition("ROLLOUT_STATE", f"version {rollout.stable_version} is in force already")
        return Event(
            EventKind.STARTED,
            rollout.stable_version,
            change.reason,
            set_by,
            now_nanos,
            experiment=f"{rollout.stable_version}-{change.candidate_version}-{now_nanos}",
            candidate_version=change.candidate_version,
            stage=change.stage,
            plan=change.plan.validate(),
        )
    if not rollout.is_on_trial:
        raise FailedPrecondition("ROLLOUT_STATE", "no version is on trial")
    if action is Action.SET_STAGE:
        return None if change.stage is rollout.stage else stage_event(
            rollout, change.stage, change.reason, set_by, now_nanos
        )  # fmt: skip
    kind = EventKind.PROMOTED if action is Action.PROMOTE else EventKind.ROLLED_BACK
    return end_event(rollout, kind, change.reason, set_by, now_nanos)


def stage_event(rollout: Rollout, stage: Stage, reason: str, set_by: str, now_nanos: int) -> Event:
    """Return the event of a stage that changes."""
    return Event(
        EventKind.STAGE_CHANGED, rollout.stable_version, reason, set_by, now_nanos,
        experiment=rollout.experiment, candidate_version=rollout.candidate_version,
        stage=stage, plan=rollout.plan,
    )  # fmt: skip


def end_event(rollout: Rollout, kind: EventKind, reason: str, set_by: str, now_nanos: int) -> Event:
    """Return the event that ends an experiment: PROMOTED or ROLLED_BACK."""
    is_promoted = kind is EventKind.PROMOTED
    return Event(
        kind, rollout.candidate_version if is_promoted else rollout.stable_version, reason, set_by, now_nanos,
        experiment=rollout.experiment, candidate_version=rollout.candidate_version,
        stage=rollout.stage, plan=rollout.plan,
    )  # fmt: skip
