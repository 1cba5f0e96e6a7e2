"""Carrying out planned runs, in this process or in others."""
