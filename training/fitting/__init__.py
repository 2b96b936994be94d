"""Fitting of networks, and calibration."""
