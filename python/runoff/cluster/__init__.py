"""A suite on many machines, through Ray: what is sent, the driver, the worker on each machine, the view of all."""
