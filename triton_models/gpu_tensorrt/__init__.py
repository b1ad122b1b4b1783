"""Profile 1 on a GPU: Mistral-7B-Instruct as a TensorRT-LLM engine in INT8 SmoothQuant W8A8."""
