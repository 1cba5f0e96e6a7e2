"""What is wrong with a feature set."""
