"""State of the engine that is replaced while requests are answered, as one frozen value."""

from dataclasses import dataclass, field

from serving.state.arms import Arm, Arms
from serving.state.catalogue import Catalogue
from serving.state.model import Model
from serving.state.study_times import StudyTimes


@dataclass(frozen=True)
class EngineState:
    """Models, arms and other data that answers are made from.

    Threads replace the state as a whole (`serving.engine.engine.Engine.swap`). A request reads it
    once and uses it until its answer is logged, so no answer mixes two states.

    Attributes:
        model: the champion; None until a model was promoted.
        challenger: the other bundle of an A/B test; None without one.
        arms: shares of the learners by arm.
        catalogue: the platform's topics.
        durations: study times of the topics.
    """

    model: Model | None
    catalogue: Catalogue
    arms: Arms
    challenger: Model | None = None
    durations: StudyTimes = field(default_factory=StudyTimes)

    def served_to(self, user_id: str) -> tuple[Arm, Model | None]:
        """Return the learner's arm, and the model that answers in it."""
        arm = self.arms.of(user_id)
        return arm, (self.challenger or self.model) if arm == "challenger" else self.model
