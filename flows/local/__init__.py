"""Local servers and worker: start, supervision and access control on one machine."""
