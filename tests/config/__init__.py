"""Tests of the configuration; a package so that they share `builders`."""
