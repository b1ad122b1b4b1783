"""Version 2: SmolLM2 with 8-bit weights and activations."""

from triton_models.backend import MarketModel


class TritonPythonModel(MarketModel):
    """What Triton's Python backend looks for by this name."""

    precision = "int8"
