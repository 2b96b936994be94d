"""Schemas of the monitor's figures on past answers, as the service returns them."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from serving.api.response_schemas import Probability


class MonitoringModel(BaseModel):
    """Base of the monitor's output; it may contain more fields than are described here."""

    model_config = ConfigDict(extra="allow", frozen=True)


class Window(MonitoringModel):
    """Period that the figures cover."""

    start: datetime
    end: datetime


class Lift(MonitoringModel):
    """Gain in acceptance from the models: their learners compared with the control arm."""

    value: float | None
    low: float | None = Field(description="Of the 95 % interval; null of too few learners")
    high: float | None
    n: int = Field(description="Recommendations compared")
    learners: int = Field(description="To whom they were given")


class SkewResponse(MonitoringModel):
    """Training-serving skew: answers whose inputs differ from those that training reads."""

    compared: int = Field(description="Answers")
    different: int = Field(description="Of them, whose inputs are others")


class DriftResponse(MonitoringModel):
    """Drift of the window's inputs compared with the inputs that the champion was trained on."""

    score: Probability | None = Field(description="Share of inputs that drifted")
    small: bool = Field(description="Whether there is too little to judge")
    drifted: list[str] = Field(description="Names of the inputs")
    report: str | None = Field(description="Where the report lies on the machine that made it")


class Monitored(MonitoringModel):
    """Figures of the last days; all null before the first result."""

    computed_at: datetime | None = Field(description="When the monitor ran last; null: never")
    window: Window | None
    accuracy: Probability | None = Field(
        description="Share of quizzes whose outcome was the one held more likely"
    )
    recommendation_acceptance: Probability | None = Field(
        description="Share of recommendations that the learner took up"
    )
    user_satisfaction: Annotated[float, Field(ge=1, le=5)] | None = Field(
        description="Mean rating, 1 to 5"
    )
    data_drift_score: Probability | None = Field(description="0: nothing changed")
    hit_rate_at_k: Probability | None
    log_loss: Annotated[float, Field(ge=0)] | None
    calibration_error: Probability | None
    catalogue_coverage: Probability | None
    fallback_share: Probability | None = Field(description="Of answers that no model gave")
    lift: Lift | None
    skew: SkewResponse | None
    drift: DriftResponse | None
    alarms: list[str] | None = Field(description="Sentences; empty where all is as it should be")
    measures: list[dict[str, Any]] | None = Field(description="Per version, arm and day")
    fallback: str | None = Field(description="Why these are not the newest figures, else null")
    note: str | None = Field(description="What to do about it, for a person")


NOTHING: dict[str, Any] = dict.fromkeys(Monitored.model_fields)
"""Response before the first run of the monitor."""
