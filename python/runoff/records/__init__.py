"""The schema of everything that runoff writes, its files, and errors."""
