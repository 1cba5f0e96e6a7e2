"""MFM: a predicting factor and three generating ones."""
