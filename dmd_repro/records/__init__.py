"""What a run leaves on disk, and whether it still agrees."""
