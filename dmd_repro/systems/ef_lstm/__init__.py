"""EF-LSTM: early fusion, one LSTM over the joined modalities."""
