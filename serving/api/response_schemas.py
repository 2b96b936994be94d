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

    model: str = Field(description="Candidate or rule that answered")
    version: str | None = Field(description="Version in the registry; null for a rule")
    fallback: str | None = Field(description="Code of what was missing; null if nothing was")
    arm: Literal["control", "champion", "challenger"] = Field(
        description="The learner's A/B test arm"
    )
    prediction_id: str = Field(
        description="Send it in the metadata of events that follow the answer"
    )


class Reason(ResponseModel):
    """A cause that supports a topic: without it, the topic's probability would be lower."""

    cause: str = Field(description="Code of the cause, for programs")
    text: str = Field(description="Sentence for the learner")
    without: Probability | None = Field(description="Probability without this cause")


class Recommended(ResponseModel):
    """A recommended topic."""

    topic_id: int
    title: str
    probability: Probability | None = Field(
        description="Probability of being the next topic, among those offered; null if unknown"
    )
    difficulty: Level | None = Field(description="Suggested level; null without a model")
    expected_success: Probability | None = Field(description="Expected success at that level")
    reasons: list[Reason] = Field(description="Strongest first; empty if none stands out")


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
    proficiency: Probability = Field(description="Shrunk pass rate")
    trend: float = Field(ge=-1, le=1, description="Recent mean score minus the long-run mean")
    seconds_since_last_attempt: float | None = Field(ge=0)


class Difficulty(Sourced):
    """Suggested difficulty of the next quiz."""

    difficulty: Level
    success_probability: Probability | None = Field(description="Expected success at that level")
    levels: Levels = Field(description="Expected success at each level")
    level_probabilities: Levels = Field(
        description="Suitability of each level; the values sum to 1"
    )
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
    domain: str | None = Field(description="Null if the topic is not in the catalogue")
    status: Literal["failed", "shaky", "started", "new"] = Field(
        description="failed: last attempt; shaky: topics that build on it failed repeatedly; "
        "started: not passed yet"
    )
    difficulty: Level | None = Field(description="Suggested level; null without a model")
    expected_success: Probability | None = Field(description="Expected success at that level now")
    resource: Material | None = Field(description="In the learner's format, if there is one")
    minutes: int | None = Field(description="Minutes for the resource and a quiz")
    minutes_from: Literal["log", "catalogue"] | None = Field(description="Source of `minutes`")
    why: str = Field(description="Sentence for the learner")


class LearningPath(Sourced):
    """The next steps to a goal, prerequisites first."""

    learning_path: list[PathStep]
    goal: str
    remaining: int = Field(
        ge=0, description="Number of topics to the goal, including those of the path"
    )
    format: Format = Field(description="Preferred format of the resources")


class PredictResponse(ResponseModel):
    """Predictions of a model for the inputs sent."""

    predictions: list[list[Probability]] = Field(description="One row per row of inputs")
    columns: list[int] | list[Level] = Field(description="Topic or level of each number in a row")
    assumed: list[str] = Field(
        description="Names of other inputs, set to the values of an unknown learner"
    )
    model: str = Field(description="Candidate that answered")
    version: str = Field(description="Version in the registry")
