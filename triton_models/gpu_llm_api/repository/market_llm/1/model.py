"""Version 1: Mistral in FP8."""

from triton_models.gpu_llm_api.backend import MarketModel


class TritonPythonModel(MarketModel):
    """What Triton's Python backend looks for by this name."""
