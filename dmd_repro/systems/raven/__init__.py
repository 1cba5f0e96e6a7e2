"""RAVEN: words shifted by what is seen and heard while they are said."""
