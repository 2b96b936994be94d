"""State that the engine reads: learners, the served models, the catalogue."""
