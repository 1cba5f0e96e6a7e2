"""The layouts of feature files the field uses, turned into one."""
