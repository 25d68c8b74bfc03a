"""Runs whose cases are added while they are measured, as a search needs them."""
