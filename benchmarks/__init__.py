"""Figures, each printed beside its ideal. Run one with `python -m benchmarks.NAME`.

Nothing here is a timed test: machines are shared and noisy, so figures are ratios or differences
taken within one run.
"""
