"""The systems of the tables: one folder or file each, their losses and the registry."""
