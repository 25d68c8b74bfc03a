"""Benchmarks your model across ML runtimes and languages."""

__version__ = "0.1.0"
