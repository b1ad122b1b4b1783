"""How much a post looks like spam: signs that add up, each with a weight that can be read.

The signs are those that studies of financial microblogs agree on: many unrelated cashtags (Cresci et al.,
"Cashtag piggybacking", 2019), calls to a private channel, promises, shouting, an author without followers,
one who writes without pause.
"""

from __future__ import annotations

import math
import re

_CASHTAGS = re.compile(r"\$[A-Za-z]{1,6}\b")
_LINKS = re.compile(r"https?://|\bt\.me/|\bbit\.ly/")
_PROMISES = re.compile(
    r"\b(guaranteed?|100% (win|profit|sure)|risk[- ]free|double your|get rich|to the moon|free signals?|"
    r"easy money|giveaway)\b"
)
_CALLS = re.compile(
    r"\b(join (my|our|us|the)|dm me|sign up|subscribe|whatsapp|telegram group|click (here|the link))\b"
)
BASE = -2.6
"""Log odds of a post without any sign."""


def spam_score(text: str, follower_count: int, posts_last_hour: int) -> float:
    """Return how much a post looks like spam, 0 to 1.

    Args:
        follower_count: of its author.
        posts_last_hour: by its author, this one included.
    """
    folded = text.casefold()
    letters = [letter for letter in text if letter.isalpha()]
    shouting = sum(letter.isupper() for letter in letters) / len(letters) if len(letters) >= 12 else 0.0
    odds = BASE
    odds += 0.9 * max(0, len(set(_CASHTAGS.findall(folded))) - 3)
    odds += 1.8 * min(2, len(_PROMISES.findall(folded)))
    odds += 1.6 * min(2, len(_CALLS.findall(folded)))
    odds += 0.4 * min(3, len(_LINKS.findall(folded)))
    odds += 2.0 * max(0.0, shouting - 0.4)
    odds += 0.3 * min(4, text.count("!") + text.count("\N{ROCKET}"))
    odds += 0.5 if follower_count < 10 else 0.0
    odds += 0.5 * max(0.0, math.log2(posts_last_hour / 6)) if posts_last_hour > 6 else 0.0
    return 1.0 / (1.0 + math.exp(-odds))
