"""Shared foundation of all packages: settings, contracts, the log, the bundle."""
