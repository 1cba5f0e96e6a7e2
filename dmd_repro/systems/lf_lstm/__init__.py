"""LF-LSTM: late fusion, one LSTM a modality."""
