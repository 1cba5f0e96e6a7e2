"""What `import dmd_repro as dmd` offers: the program's results as pandas tables, and its work as functions."""
