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
    low: float | None = Field(
        description="Lower bound of the 95 % interval; null if there are too few learners"
    )
    high: float | None
    n: int = Field(description="Number of recommendations compared")
    learners: int = Field(description="Number of learners who received them")


class SkewResponse(MonitoringModel):
    """Training-serving skew: answers whose inputs differ from those that training reads."""

    compared: int = Field(description="Number of answers compared")
    different: int = Field(description="Number of them with different inputs")


class DriftResponse(MonitoringModel):
    """Drift of the window's inputs compared with the inputs that the champion was trained on."""

    score: Probability | None = Field(description="Share of inputs that drifted")
    small: bool = Field(description="True if there are too few learners to judge")
    drifted: list[str] = Field(description="Names of the inputs that drifted")
    report: str | None = Field(description="Path of the report on the monitor's machine")


class GuardResponse(MonitoringModel):
    """Verdict of one guard of the feed or of a scheduled run."""

    fires: bool = Field(description="True if a person must act")
    sentence: str = Field(description="The measurement in words")
    value: float | None = Field(
        description="Share of the usual volume or of all rows, or an age in seconds"
    )
    limit: float | None = Field(description="Value that the guard compares with")


class OutsideCatalogueResponse(MonitoringModel):
    """Events on topics that the catalogue does not have; they are kept and not counted."""

    events: int = Field(description="Number of them in the whole log")
    topics: list[int] = Field(description="Ids of their topics, the first ten")


class Monitored(MonitoringModel):
    """Figures of the last days; all null before the first result."""

    computed_at: datetime | None = Field(description="Time of the monitor's last run; null: never")
    window: Window | None
    accuracy: Probability | None = Field(
        description="Share of quizzes whose outcome was the more probable one"
    )
    recommendation_acceptance: Probability | None = Field(
        description="Share of recommendations that the learner accepted"
    )
    user_satisfaction: Annotated[float, Field(ge=1, le=5)] | None = Field(
        description="Mean rating, 1 to 5"
    )
    data_drift_score: Probability | None = Field(description="0 to 1; 0: no input drifted")
    hit_rate_at_k: Probability | None
    log_loss: Annotated[float, Field(ge=0)] | None
    calibration_error: Probability | None
    catalogue_coverage: Probability | None
    fallback_share: Probability | None = Field(description="Share of answers without a model")
    lift: Lift | None
    skew: SkewResponse | None
    drift: DriftResponse | None
    alarms: list[str] | None = Field(description="Alarms, as sentences; empty if there are none")
    guards: dict[str, GuardResponse] | None = Field(
        description="Verdict on volume, freshness, refused rows, and the runs nightly and monitor"
    )
    held_back: list[str] | None = Field(
        description="Alarms that start no training, because events are missing"
    )
    outside_catalogue: OutsideCatalogueResponse | None
    measures: list[dict[str, Any]] | None = Field(description="Figures per version, arm and day")
    fallback: str | None = Field(
        description="Reason if these are not the newest figures, else null"
    )
    note: str | None = Field(description="Action for an operator")


NOTHING: dict[str, Any] = dict.fromkeys(Monitored.model_fields)
"""Response before the first run of the monitor."""
