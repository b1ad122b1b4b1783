"""What decoders say of texts that their adapter had not seen: what a head may be fitted on.

Of a text that it was fitted on, an adapter is surer than it will ever be of a new one. So every text that may
be fitted on is answered by an adapter that was fitted without its fold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from triton_models.adapter import ADAPTER_FILE
from triton_models.train_head.corpus import key_of

UNSEEN_FILE = ADAPTER_FILE.with_name("unseen_answers.npz")


@dataclass(frozen=True)
class UnseenAnswers:
    """The label tokens' scores of texts.

    Args:
        keys: of the texts (`corpus.key_of`), `[texts]`.
        logits: `[texts, labels]`.
    """

    keys: NDArray[np.uint64]
    logits: NDArray[np.float32]

    @classmethod
    def load(cls, path: Path = UNSEEN_FILE) -> UnseenAnswers:
        """Return what `save` wrote."""
        with np.load(path) as stored:
            return cls(stored["keys"], stored["logits"].astype(np.float32))

    def save(self, path: Path) -> None:
        """Write them in half precision."""
        np.savez_compressed(path, keys=self.keys, logits=self.logits.astype(np.float16))

    def of(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the scores of texts, `[texts, labels]`. Raises ValueError when one is not among them."""
        places = {int(key): place for place, key in enumerate(self.keys)}
        try:
            return self.logits[[places[key_of(text)] for text in texts]]
        except KeyError:
            missing = next(text for text in texts if key_of(text) not in places)
            raise ValueError(
                f"no adapter has answered {missing[:60]!r} unseen: fit the adapter on these files first"
            ) from None
