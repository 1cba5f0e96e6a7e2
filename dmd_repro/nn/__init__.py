"""Layers that systems are built of."""
