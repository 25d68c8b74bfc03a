"""From a run to tables: pure functions that start no process and read nothing but the run."""
