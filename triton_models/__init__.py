"""The Triton model repository of the mesh, and what fills it.

Everything here but `contract`, `head` and `features` runs in Triton's own environment (`.venv-triton`).
"""
