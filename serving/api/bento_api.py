"""BentoML endpoints below `/bento`, for BentoML clients; the same engine answers.

The prefix is needed because `POST /predict` belongs to the platform. The methods are coroutines,
because the engine answers one question at a time. BentoML would run plain functions in several
threads.
"""

from typing import Any

import bentoml
import numpy as np
from bentoml.exceptions import InvalidArgument, ServiceUnavailable
from numpy.typing import NDArray

from sensei.contracts import MAX_ROWS
from sensei.errors import InvalidInput, NothingServed
from serving.api.request_schemas import (
    Asked,
    DifficultyQuery,
    RecommendationsQuery,
    parse,
)
from serving.app import app

PATH = "/bento"
"""Path prefix of the BentoML endpoints."""


class NativeEndpoints:
    """Endpoints for `bentoml.SyncHTTPClient`."""

    @bentoml.api(  # type: ignore[untyped-decorator]
        route=f"{PATH}/predict", batchable=True, max_batch_size=MAX_ROWS, max_latency_ms=1_000
    )
    async def predict(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return predictions for each row, from the model whose inputs match.

        Args:
            features: (n, 20) inputs of the recommendation model, or (n, 4) of the difficulty model.

        Returns:
            (n, topics) probability of each topic being next, or (n, 3) expected success.
        """
        try:
            found = app.state.engine.predict(features.tolist())
        except InvalidInput as error:
            raise InvalidArgument(str(error)) from None
        except NothingServed as error:
            raise ServiceUnavailable(str(error)) from None
        return np.array(found["predictions"], np.float32)

    @bentoml.api(route=f"{PATH}/recommend")  # type: ignore[untyped-decorator]
    async def recommend(self, user_id: str, count: int = 3) -> dict[str, Any]:
        """Recommend the topics that a learner should study next."""
        asked = _parsed(RecommendationsQuery, username=user_id, count=count)
        context = await app.state.engine.context_for(asked.username)
        found: dict[str, Any] = app.state.engine.recommend_next_topics(context, asked.count)
        return found

    @bentoml.api(route=f"{PATH}/suggest_difficulty")  # type: ignore[untyped-decorator]
    async def suggest_difficulty(self, user_id: str, topic_id: int) -> dict[str, Any]:
        """Suggest the level of a learner's next quiz on a topic."""
        asked = _parsed(DifficultyQuery, username=user_id, topic_id=topic_id)
        context = await app.state.engine.context_for(asked.username)
        found: dict[str, Any] = app.state.engine.suggest_quiz_difficulty(context, asked.topic_id)
        return found


def _parsed(model: type[Asked], **values: Any) -> Asked:
    """Validate a request.

    Raises:
        InvalidArgument: the request is invalid; BentoML's own exception for it.
    """
    try:
        return parse(model, values)
    except InvalidInput as error:
        raise InvalidArgument(str(error)) from None
