"""Reports: from analysis to text, tables and figures. Starts no process, reads only the run's folder."""
