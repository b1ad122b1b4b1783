"""Profile 2 on a GPU: Mistral-7B-Instruct in FP8 through TensorRT-LLM's LLM API, behind `market_llm`."""
