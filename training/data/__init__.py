"""Training data: shards of the log, splits, datasets, batches."""
