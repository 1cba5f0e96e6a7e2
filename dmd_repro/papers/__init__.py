"""Printed numbers, recipes and claims, read into types."""
