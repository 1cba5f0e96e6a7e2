"""Stacks of runs as tasks of a Slurm array: submitted once, watched by any client, requeued at their time limit."""
