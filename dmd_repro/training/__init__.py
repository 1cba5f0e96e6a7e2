"""A spec and features become a record."""
