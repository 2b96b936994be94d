"""Fitting and calibration of networks."""
