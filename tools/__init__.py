"""Checks and measurements of the source tree itself; not part of the installed packages."""
