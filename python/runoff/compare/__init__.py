"""Comparison of runs and targets, limits, and the file formats of other tools."""
