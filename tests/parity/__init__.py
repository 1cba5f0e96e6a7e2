"""What this implementation computes for each array of the authors' reference, key by key."""
