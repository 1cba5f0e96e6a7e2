"""Printed numbers and code against the paper."""
