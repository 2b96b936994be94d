"""Pure: a learner's history -> model inputs."""
