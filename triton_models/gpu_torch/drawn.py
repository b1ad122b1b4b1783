"""A checkpoint of drawn weights, for timing where there is no real one: `config.json` and `tokenizer.json`.

`python -m triton_models.gpu_torch.drawn --output FOLDER --texts FILE`. What it answers means nothing, and
MODEL_VERSION says `drawn`. Its tokenizer cuts words into pieces of six characters at most, which gives
English text about as many tokens as Mistral's own does.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, models, pre_tokenizers, processors, trainers

from triton_models.gpu_tensorrt.reading import PREFIX, SUFFIX, TOKENIZER_NAME
from triton_models.gpu_torch.shape import CONFIG_NAME, MISTRAL_7B, Shape, shape_of

SEED = 20
_BEGINNING = "<s>"
_SPECIAL = (_BEGINNING, "[INST]", "[/INST]")
_ANSWERS = ("negative", "neutral", "positive")
_PIECES = r" ?[^ ]{1,6}"


def stand_in_tokenizer(texts: Iterable[str], vocabulary: int) -> Any:
    """Return a tokenizer that has Mistral's special tokens and knows the pieces of `texts`."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[AddedToken(token, special=True) for token in _SPECIAL],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator([PREFIX, SUFFIX, *_ANSWERS, *texts], trainer)
    made.post_processor = processors.TemplateProcessing(
        f"{_BEGINNING} $A", special_tokens=[(_BEGINNING, made.token_to_id(_BEGINNING))]
    )
    return made


def write_drawn(folder: Path, texts: Iterable[str], shape: Shape = MISTRAL_7B, seed: int = SEED) -> None:
    """Write a checkpoint of that shape, its weights being nothing but a seed."""
    folder.mkdir(parents=True, exist_ok=True)
    config = replace(shape, seed=seed).to_config()
    (folder / CONFIG_NAME).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    stand_in_tokenizer(texts, shape.vocabulary).save(str(folder / TOKENIZER_NAME))


def main(arguments: Sequence[str] | None = None) -> int:
    """Write what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m triton_models.gpu_torch.drawn", description=__doc__)
    parser.add_argument("--output", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--texts", type=Path, required=True, metavar="FILE", help="one text a line")
    parser.add_argument("--shape", type=Path, metavar="CONFIG", help="a config.json; Mistral-7B's without it")
    parser.add_argument("--seed", type=int, default=SEED)
    given = parser.parse_args(sys.argv[1:] if arguments is None else arguments)
    shape = shape_of(json.loads(given.shape.read_text(encoding="utf-8"))) if given.shape else MISTRAL_7B
    write_drawn(given.output, given.texts.read_text(encoding="utf-8").splitlines(), shape, given.seed)
    return 0


if __name__ == "__main__":
    sys.exit(main())
