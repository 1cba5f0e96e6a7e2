"""Where the published files are, and how they are fetched."""
