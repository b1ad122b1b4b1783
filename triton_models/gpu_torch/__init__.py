"""Profile 3 on a GPU: any Llama- or Mistral-shaped checkpoint in fp16 or INT8 W8A8, with PyTorch alone."""
