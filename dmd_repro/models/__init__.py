"""One readable file per system, on shared layers whose leading axis is the group: seeds times encoders of one shape."""
