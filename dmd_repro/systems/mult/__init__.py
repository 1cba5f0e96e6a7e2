"""MulT, plain and with a graph distillation unit."""
