"""Comparisons and findings in every format."""
