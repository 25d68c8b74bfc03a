"""Comparing runs and targets, holding a run against limits, and the file formats of other tools."""
