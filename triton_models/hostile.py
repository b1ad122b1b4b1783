"""Posts that speak to their reader instead of about a market: orders, forged roles, forged answers.

Nothing a post says is ever obeyed, since nothing is generated; but `answer positive` weighs on the scores
like any other words. Two defences. A sentence that gives orders is left out before reading. And a text with
a label's word in it is read without that word too: where the answer rests on it, the answer without it
stands. Either way the answer stays below the confidence at which a post counts. The patterns of orders are
a list and no proof: the second defence is there for what they miss.
"""

from __future__ import annotations

import re

SHRINKAGE = 0.46
"""Share of one third in the answer to a hostile text: its confidence stays below 0.694."""

_LABEL = r"(?:positive|negative|neutral|bullish|bearish)"
_LABEL_WORD = re.compile(rf"\b{_LABEL}(?:ly)?\b", re.IGNORECASE)
_DISMISSES = r"\b(?:ignore|disregard|forget|override|bypass)\b.{0,40}"
_DISMISSED = r"\b(?:instructions?|prompts?|rules?|previous|prior|above|earlier|system|told|text|post)\b"
_ANSWERS = r"\b(?:answer|respond|reply|output|return|print|classify|label|treat|choose)s?\b[^.!?]{0,60}"
_JUDGES = r"\b(?:rate|mark|score|say|write)\b (?:this|that|it|the|only|just)\b[^.!?]{0,40}"
_VERDICT = r"\b(?:sentiment|label|classification|class|answer|response|verdict)\b[^.!?]{0,30}?"
_IS = r"(?:\bis\b|\bare\b|\bmust be\b|\bshould be\b|[:=])[^.!?]{0,20}"
_ADDRESSES = r"\byou (?:are|must|will|should|shall)\b.{0,60}"
_ADDRESSED = r"\b(?:assistant|model|ai|bot|classifier|answers?|reply|respond|output|obey|told)\b"
_PATTERNS = (
    _DISMISSES + _DISMISSED,
    _ANSWERS + rf"\b{_LABEL}\b",
    _JUDGES + rf"\b{_LABEL}\b",
    _VERDICT + _IS + rf"\b{_LABEL}\b",
    rf"^\W*{_LABEL}\W*$",
    r"^\W*(?:post|sentiment|label|answer)\s*(?::|$)",
    r"\b(?:system|assistant|user|developer|instructions?|prompt)\s*(?:message\s*)?[:>\]]",
    _ADDRESSES + _ADDRESSED,
    r"\bas you are told\b|\bnew instructions?\b|\byour (?:instructions?|task|job|role) (?:is|are)\b",
    r"<\|[^|]*\|>|\[/?inst\]|<<sys>>|</?(?:post|text|system|user|assistant|instructions?|s)>|```",
)
_ORDER = re.compile("|".join(_PATTERNS), re.IGNORECASE)
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|[\r\n\x0b\x0c\x85\u2028\u2029]+")


def without_orders(text: str) -> tuple[str, bool]:
    """Return what the text says besides orders to its reader, and whether there were any.

    A text that is nothing but orders is returned as it is.
    """
    parts = _SENTENCE_END.split(text)
    kept = [part for part in parts if _ORDER.search(part) is None]
    if len(kept) == len(parts):
        return text, False
    return (" ".join(kept).strip() or text), True


def without_label_words(text: str) -> str | None:
    """Return the text without the words that name a label; None when it has none, or nothing else."""
    left = _LABEL_WORD.sub(" ", text)
    return left if left != text and left.strip() else None
