"""Names of the models that are trained, promoted and served."""

from enum import StrEnum


class ModelName(StrEnum):
    """Model that answers learners; its value is stored, sent and shown."""

    RECOMMENDATION = "recommendation"
    DIFFICULTY = "difficulty"
