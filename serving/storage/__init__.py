"""Database reads and writes of the service."""
