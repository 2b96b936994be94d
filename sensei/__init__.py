"""The ground all rooms share: settings, contracts, the log, the bundle."""
