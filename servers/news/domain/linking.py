"""From a text to the entities that it speaks of: cashtags, other symbols, names, the market's own words.

Names are found in one pass over the text, all at once. Source: Aho and Corasick, "Efficient string matching:
an aid to bibliographic search", 1975.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import ahocorasick

from servers.news.domain.post import MARKET, LinkKind, PostLink

CASHTAG_CONFIDENCE, NAME_CONFIDENCE, SHORT_NAME_CONFIDENCE, MARKET_CONFIDENCE = 1.0, 0.9, 0.6, 0.7
SYMBOL_CONFIDENCE = 0.85
"""Of a symbol in capitals that is given as one without a cashtag."""
CONTEXT_CONFIDENCE = 0.85
"""Of a short name that stands beside a word of the trade."""
SHORT_NAME = 5
"""Names up to this many characters are ordinary words too often."""
MOST_LINKS = 8
MARKET_TERMS = ("stock market", "wall street", "s&p 500", "equities", "the fed", "rate cut", "rate hike")
_CONTEXT = re.compile(
    r"\b(shares?|stocks?|earnings|revenue|guidance|profit|analysts?|dividend|upgraded?|downgraded?|ceo|"
    r"quarter(ly)?|investors?|nasdaq|nyse)\b"
)
_CASHTAG = re.compile(r"(?<![\w$])\$([A-Za-z][A-Za-z0-9.\-]{0,9})(?![\w$])")
_SYMBOL = r"[A-Z0-9]{2,10}"
_GIVEN_AS_SYMBOL = re.compile(
    # a hashtag; a pair; what follows "the coin is", "ticker:"; a text that is nothing else
    rf"(?<![\w#])#({_SYMBOL})\b|"
    rf"\b({_SYMBOL})/(?:BTC|ETH|BNB|USDT?|EUR)\b|"
    rf"\b(?i:coin|token|ticker|symbol|signal|pick)\b[^.!?\n]{{0,60}}?(?:(?i:\bis\b)|[:=>])\W*({_SYMBOL})\b|"
    rf"\A\W*({_SYMBOL})\W*\Z"
)


class Linker:
    """Finds entities in texts.

    Args:
        aliases: names of each symbol, its display name among them; matched as whole words, without regard
            to case. A name that two symbols share links to both, less surely.
    """

    def __init__(self, aliases: Mapping[str, Iterable[str]]) -> None:
        self._symbols = frozenset(aliases)
        self._names = ahocorasick.Automaton()
        named: dict[str, list[str]] = {}
        for symbol, names in aliases.items():
            for name in names:
                if len(name.strip()) >= 3:
                    named.setdefault(name.strip().casefold(), []).append(symbol)
        for term in MARKET_TERMS:
            named.setdefault(term, []).append(MARKET)
        for name, symbols in named.items():
            self._names.add_word(name, (name, tuple(sorted(set(symbols)))))
        self._names.make_automaton()

    def links(self, text: str) -> tuple[PostLink, ...]:
        """Return the entities of `text`, the surest first, at most `MOST_LINKS`; each once."""
        found: dict[str, PostLink] = {}
        for match in _CASHTAG.finditer(text):
            symbol = match.group(1).upper().rstrip(".-")
            if symbol in self._symbols:
                found[symbol] = PostLink(symbol, LinkKind.CASHTAG, CASHTAG_CONFIDENCE)
        for match in _GIVEN_AS_SYMBOL.finditer(text):
            symbol = next(filter(None, match.groups()))
            if symbol in self._symbols:
                found.setdefault(symbol, PostLink(symbol, LinkKind.CASHTAG, SYMBOL_CONFIDENCE))
        folded = text.casefold()
        has_context = _CONTEXT.search(folded) is not None
        for end, (name, symbols) in self._names.iter(folded):
            if not _is_word(folded, end - len(name) + 1, end + 1):
                continue
            for symbol in symbols:
                link = _named(symbol, name, len(symbols), has_context)
                known = found.get(symbol)
                if known is None or known.confidence < link.confidence:
                    found[symbol] = link
        links = sorted(found.values(), key=lambda link: (-link.confidence, link.entity))
        return tuple(links[:MOST_LINKS])


def _named(symbol: str, name: str, sharers: int, has_context: bool) -> PostLink:
    if symbol == MARKET:
        return PostLink(MARKET, LinkKind.MARKET, MARKET_CONFIDENCE)
    if len(name) > SHORT_NAME:
        confidence = NAME_CONFIDENCE
    else:
        confidence = CONTEXT_CONFIDENCE if has_context else SHORT_NAME_CONFIDENCE
    return PostLink(symbol, LinkKind.ALIAS, confidence / sharers)


def _is_word(text: str, start: int, end: int) -> bool:
    before = start == 0 or not (text[start - 1].isalnum() or text[start - 1] in "_$")
    return before and (end == len(text) or not (text[end].isalnum() or text[end] == "_"))
