"""DMD: configuration (no torch), model, loss terms, and the switches between paper and code."""
