"""Analysis of a run: pure functions from its records to tables. They start no process and read only the run."""
