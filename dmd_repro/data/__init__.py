"""Features on their way in: files of strangers, the store, the synthetic stand-in, batches."""
