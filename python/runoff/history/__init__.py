"""The history of runs over time; DuckDB reads the summary in each run's folder."""
