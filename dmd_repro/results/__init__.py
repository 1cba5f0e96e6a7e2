"""Printed, recorded and re-run numbers side by side."""
