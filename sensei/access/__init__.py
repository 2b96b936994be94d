"""Keys of the service and their storage."""
