"""HTTP around the engine: application, guard, access, metrics, pages."""
