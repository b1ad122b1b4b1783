"""Version 1: the label tokens' logits."""

from triton_models.gpu_tensorrt.backend import Postprocessing


class TritonPythonModel(Postprocessing):
    """What Triton's Python backend looks for by this name."""
