"""From a printed table to the runs it needs, without torch."""
