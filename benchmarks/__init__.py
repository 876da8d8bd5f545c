"""Measurements of this repository on this machine; `python -m benchmarks` runs them, one process for each subject."""
