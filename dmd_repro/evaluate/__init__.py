"""A checkpoint becomes scores; a run becomes a file under the authors' names."""
