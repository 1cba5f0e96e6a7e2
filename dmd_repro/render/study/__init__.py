"""A study: all that a folder of runs says of the printed tables, as one set of pages that loads nothing else."""
