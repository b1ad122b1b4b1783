"""Quantise a checkpoint to FP8 with a calibrated FP8 KV cache: a step of `build`, run in its container.

Uses NVIDIA's Model Optimizer, which the container carries: weights and activations E4M3, one scale a tensor.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def quantise(checkpoint: Path, prompts: Sequence[str], target: Path) -> None:
    """Write the FP8 checkpoint, tokenizer included, to `target`."""
    import torch
    from modelopt.torch import quantization
    from modelopt.torch.export import export_hf_checkpoint
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    model = AutoModelForCausalLM.from_pretrained(checkpoint, torch_dtype=torch.float16, device_map="cuda")

    def read_all(reader: Any) -> None:
        with torch.inference_mode():
            for prompt in prompts:
                reader(tokenizer(prompt, return_tensors="pt").input_ids.to("cuda"))

    config = copy.deepcopy(quantization.FP8_DEFAULT_CFG)
    config["quant_cfg"] |= quantization.FP8_KV_CFG["quant_cfg"]
    quantised = quantization.quantize(model, config, read_all)
    with torch.inference_mode():
        export_hf_checkpoint(quantised, export_dir=str(target))
    tokenizer.save_pretrained(target)


def main(arguments: Sequence[str] | None = None) -> int:
    """Read prompts as JSON lines with the key `text`, and quantise."""
    parser = argparse.ArgumentParser(prog="python -m triton_models.gpu_llm_api.quantise", description=__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--prompts", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    chosen = parser.parse_args(sys.argv[1:] if arguments is None else arguments)
    lines = chosen.prompts.read_text(encoding="utf-8").splitlines()
    quantise(chosen.checkpoint, [json.loads(line)["text"] for line in lines], chosen.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
