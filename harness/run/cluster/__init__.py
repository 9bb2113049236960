"""Executors of clusters, Slurm and Ray: they queue, place and restart; a relay on the node starts
the worker process that ``harness.run.processes`` starts on one machine."""
