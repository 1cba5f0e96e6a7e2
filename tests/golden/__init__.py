"""Figures computed by the authors' codes from what a formula makes, and our code held against them."""
