"""Figures as files: the paper's (3, 4, 5), curves, seeds, forests and power, drawn from recorded runs by matplotlib."""
