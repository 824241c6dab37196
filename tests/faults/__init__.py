"""The fault matrix: an upstream's faults as the table of `table.py`, in every stage, asked for whole and
streamed; the others as tests that are named after them (`test_F23_…`).
"""
