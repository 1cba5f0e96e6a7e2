"""Reading a stranger's pickle without running anything in it."""
