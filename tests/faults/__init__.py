"""The fault matrix: every fault of `table.py`, in every stage, asked for whole and streamed."""
