"""Many runs over time: DuckDB reads the summary of each where it is."""
