"""Version 2: weights and activations in 8 bits (W8A8)."""

from triton_models.gpu_torch.backend import MarketModel


class TritonPythonModel(MarketModel):
    """What Triton's Python backend looks for by this name."""

    precision = "int8"
