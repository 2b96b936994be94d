"""Monitoring: outcomes of logged answers, drift, skew and alarms."""
