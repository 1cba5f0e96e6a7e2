"""TFN: tensor fusion of three unimodal vectors."""
