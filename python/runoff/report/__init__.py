"""Stage five: from analysis to what people read. Starts nothing, reads only the run's folder."""
