"""Which rows a model may learn from before it is asked about others: purged and with an embargo.

Source: Lopez de Prado, Advances in Financial Machine Learning (2018), chapter 7. Here training rows always
lie before the rows that are asked about, so the purge has one side only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from servers.signals.domain.panel import Bools, Panel


@dataclass(frozen=True, slots=True)
class WalkForward:
    """How the walk goes: the model is refitted every `refit_days` on all that was over by then.

    `embargo_nanos` is left between the end of the last label learnt from and the first question.
    """

    first_train_days: int
    refit_days: int
    embargo_nanos: int = 0

    def folds(self, panel: Panel) -> Iterator[tuple[Bools, Bools]]:
        """Yield (rows to learn from, rows to ask about); every later row is asked about once."""
        days = np.unique(panel.day)
        for begin in range(self.first_train_days, len(days), self.refit_days):
            last = days[min(begin + self.refit_days, len(days)) - 1]
            asked = (panel.day >= days[begin]) & (panel.day <= last)
            yield self.may_learn(panel, asked), asked

    def may_learn(self, panel: Panel, asked: Bools) -> Bools:
        """Return the rows whose label was over, with the embargo, before the first row asked about."""
        first_question = panel.decision_nanos[asked].min()
        allowed: Bools = panel.label_end_nanos + self.embargo_nanos <= first_question
        allowed &= panel.day < panel.day[asked].min()
        return allowed
