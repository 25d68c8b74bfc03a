"""The model store: what can be run, where it came from, and how it is made."""
