"""Many runs over time: each becomes one Parquet file, and DuckDB reads them all."""
