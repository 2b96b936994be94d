"""The bundle: an immutable folder with everything that serving needs."""
