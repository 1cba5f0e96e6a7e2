"""Validated feature sets on disk."""
