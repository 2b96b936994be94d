"""Training of the models: data, candidates, evaluation, release of versions."""
