"""Version 1: fp16."""

from triton_models.gpu_torch.backend import MarketModel


class TritonPythonModel(MarketModel):
    """What Triton's Python backend looks for by this name."""

    precision = "fp16"
