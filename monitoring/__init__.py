"""What became of the answers, and what changed."""
