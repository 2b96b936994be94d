"""HTTP layer around the engine: routing, limits, authentication, access log and pages."""
