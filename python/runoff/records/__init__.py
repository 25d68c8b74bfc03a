"""The schema of everything that is written, its files, and errors."""
