"""Version 1: Mistral's tokens."""

from triton_models.gpu_tensorrt.backend import Preprocessing


class TritonPythonModel(Preprocessing):
    """What Triton's Python backend looks for by this name."""
