"""Faults made to happen to a real daemon, and a checker of what is left. See docs/faults.md."""
