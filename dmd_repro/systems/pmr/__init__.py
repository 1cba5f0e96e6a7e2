"""PMR, reconstructed: its settings, its net, and the system made of both."""
