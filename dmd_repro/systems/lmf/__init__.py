"""LMF: tensor fusion with weights of low rank."""
