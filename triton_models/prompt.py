"""What the model is asked: an instruction that all texts share, one text, and the place of the answer.

A post is data: it is cut to a length, put on one line and encoded without any special token. The prompt's own
parts are told apart by line breaks, so a post cannot end its part and begin another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tokenizers import Tokenizer, decoders, models, pre_tokenizers

LABELS = ("bearish", "neutral", "bullish")
"""In the order of every score vector."""
LONGEST_TEXT_TOKENS = 160
"""What a post says after this is not read."""
CHARACTERS_READ = 2_000

_INSTRUCTION = (
    "Financial news and posts with the sentiment of each for the price of what it names:"
    " negative, neutral or positive."
)
_EXAMPLES = (
    ("Acme cuts its outlook after weak orders, shares drop", "negative"),
    ("Borealis raised to buy, target up 20%", "positive"),
    ("Corvid to present at the spring conference on Tuesday", "neutral"),
)
_ANSWERS = ("negative", "neutral", "positive")
"""What the model says for each label: one token each."""
_BEGINNING = "<|endoftext|>"


@dataclass(frozen=True)
class Prompt:
    """The tokens around a text, and the one that stands for each label."""

    prefix: tuple[int, ...]
    suffix: tuple[int, ...]
    labels: tuple[int, ...]


def tokenizer(tokens: Sequence[str], merges: Sequence[str]) -> Tokenizer:
    """Return SmolLM2's byte-level tokenizer: digits one by one, no special tokens in any text."""
    pairs = [tuple(merge.split(" ")) for merge in merges]
    made = Tokenizer(models.BPE({token: index for index, token in enumerate(tokens)}, pairs))
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    made.decoder = decoders.ByteLevel()
    return made


def prompt(words: Tokenizer) -> Prompt:
    """Return the prompt in the tokens of `words`."""

    def plain(text: str) -> tuple[int, ...]:
        return tuple(words.encode(text).ids)

    examples = "".join(f"\n\nPost: {text}\nSentiment: {answer}" for text, answer in _EXAMPLES)
    return Prompt(
        prefix=(int(words.token_to_id(_BEGINNING)), *plain(f"{_INSTRUCTION}{examples}\n\nPost:")),
        suffix=plain("\nSentiment:"),
        labels=tuple(plain(f" {answer}")[0] for answer in _ANSWERS),
    )


def one_line(text: str) -> str:
    """Return the text on one line, cut to what is read: a line break in it could forge the prompt."""
    return " ".join(text[:CHARACTERS_READ].split())


def text_tokens(words: Tokenizer, texts: Sequence[str]) -> list[list[int]]:
    """Return each text's tokens, at least 1 and at most `LONGEST_TEXT_TOKENS`."""
    encoded = words.encode_batch([f" {one_line(text)}" for text in texts])
    return [list(one.ids[:LONGEST_TEXT_TOKENS]) for one in encoded]
