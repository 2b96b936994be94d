"""From the log to examples: shards, splits, datasets, batches."""
