"""Version 1: SmolLM2 in fp32."""

from triton_models.backend import MarketModel


class TritonPythonModel(MarketModel):
    """What Triton's Python backend looks for by this name."""

    precision = "fp32"
