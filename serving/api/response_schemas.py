"""Response schemas, as `/docs` shows them; tests check responses against these models."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from sensei.contracts import Format

Probability = Annotated[float, Field(ge=0, le=1)]
Level = Literal["easy", "medium", "hard"]


class ResponseModel(BaseModel):
    """Base of all responses; a field that is not described here is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Sourced(ResponseModel):
    """Source of an answer: model, version, arm and fallback."""

    model: str = Field(description="Candidate that answered, or the rule that did")
    version: str | None = Field(description="Its version in the registry; null of a rule")
    fallback: str | None = Field(description="What was not known or not there; null where all was")
    arm: Literal["control", "champion", "challenger"] = Field(description="The learner's arm")
    prediction_id: str = Field(description="Send it in the metadata of what comes of the answer")


class Reason(ResponseModel):
    """A cause that supports a topic: without it, the topic's probability would be lower."""

    cause: str = Field(description="For programs")
    text: str = Field(description="For the learner")
    without: Probability | None = Field(description="What the probability would be without it")


class Recommended(ResponseModel):
    """A recommended topic."""

    topic_id: int
    title: str
    probability: Probability | None = Field(
        description="Of being next, among what is offered; null where nobody knows"
    )
    difficulty: Level | None = Field(description="At which to test it; null without a model")
    expected_success: Probability | None = Field(description="At that level")
    reasons: list[Reason] = Field(description="The weightiest first; none where nothing stands out")


class Recommendations(Sourced):
    """Recommended topics, the most probable first."""

    recommendations: list[Recommended]


class Levels(ResponseModel):
    """One value per level; null if no model can estimate it."""

    easy: Probability | None
    medium: Probability | None
    hard: Probability | None


class TopicEvidence(ResponseModel):
    """A learner's record on a topic."""

    attempts: int = Field(ge=0)
    passes: int = Field(ge=0)
    proficiency: Probability = Field(description="Shrunk share of passes")
    trend: float = Field(ge=-1, le=1, description="Recent mean score less the long-run mean")
    seconds_since_last_attempt: float | None = Field(ge=0)


class Difficulty(Sourced):
    """Suggested difficulty of the next quiz."""

    difficulty: Level
    success_probability: Probability | None = Field(description="Expected success at that level")
    levels: Levels = Field(description="Expected success at each level")
    level_probabilities: Levels = Field(description="How fit each level is; they sum to 1")
    evidence: TopicEvidence | None
    topic_id: int
    title: str


class Material(ResponseModel):
    """A resource to study a topic with."""

    resource_id: int
    kind: Format
    title: str
    url: str


class PathStep(ResponseModel):
    """A topic to study on the way to the goal."""

    topic_id: int
    title: str
    domain: str | None = Field(description="Null of a topic that is in no catalogue")
    status: Literal["failed", "shaky", "started", "new"] = Field(
        description="failed: last time; shaky: what builds on it failed again and again; "
        "started: without a pass so far"
    )
    difficulty: Level | None = Field(description="At which to test it; null without a model")
    expected_success: Probability | None = Field(description="At that level, as of now")
    resource: Material | None = Field(description="In the learner's format where there is one")
    minutes: int | None = Field(description="That the resource and a quiz take")
    minutes_from: Literal["log", "catalogue"] | None = Field(description="Who says so")
    why: str = Field(description="For the learner")


class LearningPath(Sourced):
    """The next steps to a goal, prerequisites first."""

    learning_path: list[PathStep]
    goal: str
    remaining: int = Field(ge=0, description="Topics to the goal, those of the path included")
    format: Format = Field(description="Preferred of the resources")


class PredictResponse(ResponseModel):
    """Predictions of a model for the inputs sent."""

    predictions: list[list[Probability]] = Field(description="A row for each row of inputs")
    columns: list[int] | list[Level] = Field(description="What each number of a row is about")
    assumed: list[str] = Field(
        description="What else the model reads, taken as of a learner of whom nothing is known"
    )
    model: str = Field(description="Candidate that answered")
    version: str = Field(description="Its version in the registry")
