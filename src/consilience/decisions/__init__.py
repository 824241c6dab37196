"""Decisions: rule trees over signal results, and the choice among those that match. Pure."""
