"""What has been seen of a candidate, and what follows from it.

Five hypotheses say that the candidate is within its bounds (agreement, errors, latency, accuracy,
calibration). Each has an e-process against it, and the candidate is rolled back when one of them reaches
5 / alpha: by a union bound a candidate within all bounds is rolled back with probability at most alpha,
however long it is watched. Two more say that it is worse by the margin on the labelled replay; it goes on
when both reach 1 / alpha (both have to be refuted, so that no correction is due: Berger, "Multiparameter
hypothesis testing and acceptance sampling", Technometrics 1982).

Comparisons are pairs: both versions read the same texts at the same time, so that load and the difficulty
of texts cancel. Within one batch an entity counts once, and the same text counts once in an experiment:
what is about one thing is no independent evidence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from servers.intelligence.domain.evidence import MeanEvidence, RateEvidence, RatioEvidence, Window
from servers.intelligence.domain.rollout import Figures, Plan, Stage
from servers.intelligence.domain.sentiment import Label, Scores

TESTS = 5
SAMPLE_RATIO_BOUND = 1_000.0
LEAST_LATENCIES = 20
_MOST_TEXTS = 200_000


@dataclass(frozen=True, slots=True)
class Pair:
    """One text that both versions answered. `key` names the text, `entity` what it is about."""

    key: bytes
    entity: str
    candidate: Scores
    stable: Scores


@dataclass(slots=True)
class _Latencies:
    # Of the stable version, by size of the batch: a batch of eight takes longer than one text.
    windows: dict[int, Window] = field(default_factory=dict)

    def add(self, size: int, seconds: float) -> None:
        self.windows.setdefault(size, Window(200)).add(seconds)

    def p95(self, size: int) -> float | None:
        window = self.windows.get(size)
        return None if window is None or len(window.values) < LEAST_LATENCIES else window.percentile(0.95)


class Trial:
    """The evidence of one experiment."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        margin = plan.non_inferiority_margin
        self.disagreement = RateEvidence(1.0 - plan.min_agreement)
        self.errors = RateEvidence(plan.max_error_rate)
        # Among pairs in which one of the two alone was late, it is the candidate at most every other time.
        self.lateness = RateEvidence(0.5)
        # Differences of -1 to 1 as 0 to 1; bounds are those of "worse by no more than the margin".
        self.not_inferior = MeanEvidence((1.0 - margin) / 2)
        self.not_miscalibrated = MeanEvidence((1.0 - margin) / 2)
        self.inferior = MeanEvidence((1.0 + margin) / 2)
        self.miscalibrated = MeanEvidence((1.0 + margin) / 2)
        self.candidate_calls = self.candidate_failures = 0
        self.stable_calls = self.stable_failures = 0
        self.comparisons = self.agreements = self.stage_comparisons = 0
        self.labelled = self.candidate_right = self.stable_right = 0
        self.assigned = self.assigned_to_candidate = 0
        self.sample_ratio: RatioEvidence | None = None
        self._stage: Stage | None = None
        self._candidate_latencies, self._stable_latencies = Window(), Window()
        self._paired_latencies = _Latencies()
        self._texts: set[bytes] = set()
        self._entities: set[str] = set()

    # -- What is seen -----------------------------------------------------------------------------

    def begin_stage(self, stage: Stage) -> None:
        """Count comparisons and assignments of a stage from here on."""
        self._stage = stage
        self.stage_comparisons = self.assigned = self.assigned_to_candidate = 0
        self._entities.clear()
        self.sample_ratio = RatioEvidence(stage.share) if 0.0 < stage.share < 1.0 else None

    def assign(self, entity: str, is_candidates: bool) -> None:
        """Note who answers an entity; each counts once in a stage."""
        if entity in self._entities or len(self._entities) >= _MOST_TEXTS:
            return
        self._entities.add(entity)
        self.assigned += 1
        self.assigned_to_candidate += is_candidates
        if self.sample_ratio is not None:
            self.sample_ratio.observe(is_candidates)

    def called(self, is_candidate: bool, seconds: float, is_failure: bool) -> None:
        """Note a call: of the candidate, failures are evidence."""
        if is_candidate:
            self.candidate_calls += 1
            self.candidate_failures += is_failure
            self.errors.observe(is_failure)
        else:
            self.stable_calls += 1
            self.stable_failures += is_failure
        if not is_failure:
            (self._candidate_latencies if is_candidate else self._stable_latencies).add(seconds)

    def compare(self, pairs: Sequence[Pair]) -> None:
        """Take a batch that both versions read."""
        entities: set[str] = set()
        for pair in pairs:
            if pair.key in self._texts or pair.entity in entities:
                continue
            if len(self._texts) < _MOST_TEXTS:
                self._texts.add(pair.key)
            entities.add(pair.entity)
            is_same = pair.candidate.label is pair.stable.label
            self.comparisons += 1
            self.stage_comparisons += 1
            self.agreements += is_same
            self.disagreement.observe(not is_same)

    def compare_latency(self, size: int, candidate_seconds: float, stable_seconds: float) -> None:
        """Take what both versions needed for the same batch, when neither had anything else to do."""
        usual = self._paired_latencies.p95(size)
        if usual is not None:
            is_late = candidate_seconds > usual * self.plan.max_latency_ratio
            if is_late != (stable_seconds > usual):
                self.lateness.observe(is_late)
        self._paired_latencies.add(size, stable_seconds)

    def replay(self, label: Label, candidate: Scores, stable: Scores) -> None:
        """Take a labelled text that both versions answered."""
        right, was_right = candidate.label is label, stable.label is label
        self.labelled += 1
        self.candidate_right += right
        self.stable_right += was_right
        gain = (1.0 + right - was_right) / 2
        self.not_inferior.observe(gain)
        self.inferior.observe(1.0 - gain)
        # Squared error of the confidence (Brier 1950): right by how much was said.
        error = (right - candidate.confidence) ** 2 - (was_right - stable.confidence) ** 2
        self.not_miscalibrated.observe((1.0 - error) / 2)
        self.miscalibrated.observe((1.0 + error) / 2)

    # -- What follows -----------------------------------------------------------------------------

    def reason_to_roll_back(self) -> str | None:
        """Return why the candidate has to go; None while it is within its bounds for all we know."""
        plan, bound = self.plan, TESTS / self.plan.alpha
        margin, texts = plan.non_inferiority_margin, self.labelled
        agreed = self.agreements / max(1, self.comparisons)
        found: dict[str, RateEvidence | MeanEvidence] = {
            f"it agrees in {agreed:.1%} of {self.comparisons} texts, less than {plan.min_agreement:.1%}": (
                self.disagreement
            ),
            f"{self.candidate_failures} of its {self.candidate_calls} calls failed, more than"
            f" {plan.max_error_rate:.2%}": self.errors,
            f"it is slower than {plan.max_latency_ratio:g} times the stable version's 95th percentile more"
            " often than that version exceeds it": self.lateness,
            f"its accuracy on {texts} labelled texts is worse by more than {margin:g}": self.inferior,
            f"its calibration on {texts} labelled texts is worse by more than {margin:g}": self.miscalibrated,
        }
        for words, evidence in found.items():
            if evidence.value >= bound:
                return f"{words} (evidence {evidence.value:.3g}, bound {bound:g})"
        return None

    def waiting_for(self, seconds_in_stage: float, *, has_labels: bool) -> str:
        """Return what the next stage waits for, in words; empty when it may begin."""
        plan = self.plan
        if self.sample_ratio is not None and self.sample_ratio.value > SAMPLE_RATIO_BOUND:
            return "a look by a person: entities are not assigned in the stated ratio"
        if self.not_inferior.value < 1.0 / plan.alpha or self.not_miscalibrated.value < 1.0 / plan.alpha:
            if not has_labels:
                return "labelled texts: none are configured, so that a person has to decide"
            return f"non-inferiority on labelled texts, {self.labelled} read so far"
        if self.stage_comparisons < plan.min_comparisons:
            return f"comparisons: {self.stage_comparisons} of {plan.min_comparisons}"
        if seconds_in_stage < plan.min_stage_seconds:
            return f"time: {seconds_in_stage:.0f} of {plan.min_stage_seconds:.0f} s in this stage"
        return "" if plan.is_automatic else "a person: the plan is not automatic"

    def figures(self) -> Figures:
        """Return everything as figures."""
        labelled = max(1, self.labelled)
        return Figures(
            self.candidate_calls, self.candidate_failures, self.stable_calls, self.stable_failures,
            self.comparisons, self.agreements,
            self._candidate_latencies.percentile(0.95), self._stable_latencies.percentile(0.95),
            self.disagreement.value, self.errors.value, self.lateness.value,
            self.labelled, self.candidate_right / labelled, self.stable_right / labelled,
            self.not_inferior.value, self.not_miscalibrated.value,
            self.assigned, self.assigned_to_candidate,
            1.0 if self.sample_ratio is None else self.sample_ratio.value,
        )  # fmt: skip

    # -- Across restarts --------------------------------------------------------------------------

    def to_state(self) -> dict[str, Any]:
        """Return the evidence as plain values. Which texts were seen and latencies are left out."""
        kept: dict[str, Any] = {name: getattr(self, name) for name in _COUNTS}
        kept |= {name: asdict(getattr(self, name)) for name in _PROCESSES}
        if self.sample_ratio is not None:
            kept["sample_ratio"] = asdict(self.sample_ratio)
        if self._stage is not None:
            kept["stage"] = int(self._stage)
        return kept

    def restore(self, state: dict[str, Any]) -> None:
        """Take evidence up again that `to_state` gave. Raises KeyError or TypeError for something else.

        What was counted in another stage than the present one is not the present one's: it counts anew.
        """
        counts = {name: int(state[name]) for name in _COUNTS}
        processes = {name: type(getattr(self, name))(**state[name]) for name in _PROCESSES}
        for name, value in {**counts, **processes}.items():
            setattr(self, name, value)
        if "sample_ratio" in state:
            self.sample_ratio = RatioEvidence(**state["sample_ratio"])
        if self._stage is not None and state.get("stage") != int(self._stage):
            self.begin_stage(self._stage)


_COUNTS = (
    "candidate_calls", "candidate_failures", "stable_calls", "stable_failures", "comparisons", "agreements",
    "stage_comparisons", "labelled", "candidate_right", "stable_right", "assigned", "assigned_to_candidate",
)  # fmt: skip
_PROCESSES = (
    "disagreement", "errors", "lateness", "not_inferior", "not_miscalibrated", "inferior", "miscalibrated",
)  # fmt: skip
