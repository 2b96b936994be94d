"""What an answer holds, as `/docs` describes it; tests hold answers against these models."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Probability = Annotated[float, Field(ge=0, le=1)]
Level = Literal["easy", "medium", "hard"]


class Answer(BaseModel):
    """Base of all answers: a field that is not described here is a fault."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Sourced(Answer):
    """Where an answer comes from."""

    model: str = Field(description="Candidate that answered, or the rule of a fallback")
    version: str | None = Field(description="Its version in the registry; null of a fallback")
    fallback: str | None = Field(description="Why the model did not answer; null where it did")


class Recommended(Answer):
    """A topic to turn to."""

    topic_id: int
    title: str
    probability: Probability | None = Field(description="Of being next; null where nobody knows")


class Recommendations(Sourced):
    """Topics to turn to, the most probable first."""

    recommendations: list[Recommended]


class Levels(Answer):
    """Expected success at each level; null where no model can say."""

    easy: Probability | None
    medium: Probability | None
    hard: Probability | None


class Difficulty(Sourced):
    """How hard the next quiz should be."""

    difficulty: Level
    success_probability: Probability | None = Field(description="Expected success at that level")
    levels: Levels
    topic_id: int
    title: str
