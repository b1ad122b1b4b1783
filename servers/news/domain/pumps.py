"""Calls to buy one name together: the announcements of pump groups, found by their words.

A group counts down, says that the next message is the name, names it, and asks everybody to hold. Sources:
Xu and Livshits, "The anatomy of a cryptocurrency pump-and-dump scheme", 2019; La Morgia et al., "Pump and
dumps in the Bitcoin era", 2020. The signs add up, each with a weight that can be read. A message may be but
the name: then what its author wrote in the hour before tells.
"""

from __future__ import annotations

import math
import re

PUMP_ABOVE = 0.5
PRELUDE_SECONDS = 5_400
"""A name that follows a countdown by the same author within this is what was counted down to."""
BASE = -4.0
_RELEASE = re.compile(
    r"\b(coin|token|ticker|signal|pick)( name)?( of the day| for today)?( that)?"
    r"( (we|you)( are| have|'re|'ve| will)?( all)?( been)? (pick|chose|choos|select|pump|wait|buy)\w*)?"
    r"( to pump| to buy| for)?( today| now| tonight)?\s*(is|:|=|-+>)"
)
_COUNTDOWN = re.compile(
    r"\b\d{1,2}\s*(minutes?|mins?|hours?|hrs?|seconds?|secs?)\b[^.!?\n]{0,12}"
    r"\b(left|to go|remain\w*|until|till|more)\b|"
    r"\b(final|last|less than|only)( \w+)? \d{1,2}\s*(minutes?|mins?|hours?)\b|"
    r"\b(starts?|begins?|reveal\w*|announce\w*) in \d{1,2}\s*(minutes?|mins?|hours?|hrs?)\b"
)
_NEXT = re.compile(
    r"\bnext (post|message|msg)\b[^.!?\n]{0,30}\b(coin|name|signal|ticker|token)\b|"
    r"\b(coin|ticker|token|signal|name)\b[^.!?\n]{0,30}\b(post|announc|reveal|giv|releas|shar|sent|follow)\w*"
)
_PUMP = re.compile(r"\bpump(s|ed|ing)?\b")
_HOLD = re.compile(
    r"\bbuy\b[^.!?\n]{0,8} (and|&|n) hold\b|\b(do not|don'?t|never) (sell|dump|panic)\b|"
    r"\bhold (it|tight|strong|until)\b|\bhodl\b"
)
_URGE = re.compile(r"\bbuy,? (buy|now|it|fast)\b|\blet'?s (go|pump|push)\b|\b(go,? go|push it)\b")
_TOGETHER = re.compile(
    r"\b(members|everybody|everyone|all together|guys|outsiders|be ready|get ready|log ?in)\b"
)
_TARGET = re.compile(r"\b([1-9]\d{2,4}) ?%|\b\d{1,3}x\b")
_DUMP = re.compile(r"\bpump (and|&|n) dump|\bscam|\bmanipulat|\bscheme")
"""Who warns of a pump does not call for one."""
_BOAST = re.compile(r"\b(gain(s|ed)?|is coming|sign up|text alerts|get it early)\b")
"""Advertising of past and future picks; the name that it carries is not what it is about."""
_NAME_ALONE = re.compile(r"\W*[A-Z0-9]{1,10}(/[A-Z]{3,4})?\W*")


def prelude_odds(text: str) -> float:
    """Return the log odds, above none, that a text prepares a pump without naming what is pumped."""
    folded = text.casefold()
    odds = 2.5 * (_COUNTDOWN.search(folded) is not None)
    odds += 3.0 * (_NEXT.search(folded) is not None)
    odds += 1.5 * (_PUMP.search(folded) is not None)
    odds += 1.0 * (_TOGETHER.search(folded) is not None)
    return odds - 4.0 * (_DUMP.search(folded) is not None)


def pump_score(text: str, *, follows_prelude: bool) -> float:
    """Return how much a text that names something looks like a call to pump it, 0 to 1.

    Args:
        follows_prelude: its author has counted down to something within `PRELUDE_SECONDS`.
    """
    folded = text.casefold()
    odds = BASE + prelude_odds(text)
    odds += 3.0 * (_RELEASE.search(folded) is not None)
    odds += 1.5 * (_HOLD.search(folded) is not None)
    odds += 1.5 * (_URGE.search(folded) is not None)
    odds += 1.5 * (_TARGET.search(folded) is not None)
    odds += 3.0 * follows_prelude
    odds -= 2.0 * (_BOAST.search(folded) is not None)
    odds += 2.0 * (follows_prelude and _NAME_ALONE.fullmatch(text) is not None)
    return 1.0 / (1.0 + math.exp(-odds))


def is_prelude(text: str) -> bool:
    """Return whether a text prepares a pump: what its author names next is looked at with that in mind."""
    return prelude_odds(text) >= 2.5
