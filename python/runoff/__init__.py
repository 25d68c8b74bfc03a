"""Which runtime and which language should run your model, and what each choice costs."""

__version__ = "0.1.0"
