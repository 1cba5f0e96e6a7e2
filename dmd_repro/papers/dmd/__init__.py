"""What belongs to the DMD paper alone: its claims, the two readings of Table 4, the edges."""
