"""The measures of the sentiment tables."""
