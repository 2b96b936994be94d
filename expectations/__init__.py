"""What a row must be: suites, checkpoint, quarantine."""
