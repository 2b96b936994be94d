"""State that the engine reads: learners, the model in use, the catalogue."""
