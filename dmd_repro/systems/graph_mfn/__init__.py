"""Graph-MFN: a dynamic fusion graph and a gated memory."""
