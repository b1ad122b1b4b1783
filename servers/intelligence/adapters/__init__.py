"""Where intelligence meets Triton, its files and its journal."""
