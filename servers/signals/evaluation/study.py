"""The walk: every model asked about the same rows, in order of time, having learnt from what was over."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from servers.signals.domain.model import fit_linear, fit_platt, sigmoid
from servers.signals.domain.panel import Bools, Doubles, Group, Panel
from servers.signals.domain.walk_forward import WalkForward

MAJORITY, PRICE_ONLY, NEWS_ONLY, SOCIAL_ONLY, ALL = (
    "majority",
    "price_only",
    "news_only",
    "social_only",
    "all",
)
MODELS: Mapping[str, tuple[Group, ...]] = {
    MAJORITY: (),
    PRICE_ONLY: (Group.PRICE,),
    NEWS_ONLY: (Group.NEWS,),
    SOCIAL_ONLY: (Group.SOCIAL,),
    ALL: (Group.PRICE, Group.NEWS, Group.SOCIAL),
}
LINEAR, BOOSTED = "linear", "boosted"
Steps = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Configuration:
    """What is fitted: `linear` (logistic regression with its penalty) or `boosted` (trees on histograms)."""

    kind: str = LINEAR
    strength: float = 0.05

    @property
    def name(self) -> str:
        """Return the name that stands in the log of configurations."""
        return f"linear, C={self.strength:g}" if self.kind == LINEAR else "boosted trees"


PRIMARY = Configuration()
ALTERNATIVES = (Configuration(strength=0.001), Configuration(strength=1.0), Configuration(BOOSTED))


@dataclass(frozen=True, slots=True)
class Answers:
    """One model's answers: the rows it was asked about and the probability of a rise it gave."""

    asked: Bools
    probability: Doubles


def walk(
    panel: Panel,
    groups: Sequence[Group],
    scheme: WalkForward,
    configuration: Configuration = PRIMARY,
    on_fold: Callable[[], None] = lambda: None,
) -> Answers:
    """Return the answers of one model over the whole walk; probabilities outside `asked` are 0.5.

    A linear model is calibrated on its own earlier answers: those whose outcome was known when it was asked.
    """
    names, values = panel.matrix(groups)
    probability = np.full(len(panel), 0.5)
    odds = np.zeros(len(panel))
    asked = np.zeros(len(panel), dtype=np.bool_)
    rose = panel.rose
    for learnt, questions in scheme.folds(panel):
        if configuration.kind == BOOSTED and names:
            probability[questions] = _boosted(values, rose, learnt, questions)
        else:
            model = fit_linear(names, values[learnt], rose[learnt], configuration.strength)
            odds[questions] = model.log_odds(values[questions])
            earlier = learnt & asked
            slope, offset = fit_platt(odds[earlier], rose[earlier]) if names else (1.0, 0.0)
            probability[questions] = sigmoid(slope * odds[questions] + offset)
        asked |= questions
        on_fold()
    return Answers(asked, probability)


def _boosted(values: Doubles, rose: Bools, learnt: Bools, questions: Bools) -> Doubles:
    from sklearn.ensemble import HistGradientBoostingClassifier

    trees = HistGradientBoostingClassifier(
        max_iter=60, learning_rate=0.05, max_leaf_nodes=8, min_samples_leaf=200, l2_regularization=10.0,
        early_stopping=False, random_state=1,
    )  # fmt: skip
    trees.fit(values[learnt], rose[learnt])
    answered: Doubles = trees.predict_proba(values[questions])[:, 1]
    return answered
