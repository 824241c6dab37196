"""Fusion: a panel answers, a judge compares, one model writes the answer."""
