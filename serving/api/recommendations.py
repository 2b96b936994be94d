"""Endpoints for recommendations, difficulty, learning path and predictions; the engine decides."""

from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response

from serving.api import examples
from serving.api.request_schemas import (
    DifficultyQuery,
    LearningPathQuery,
    PredictBody,
    Query,
    RecommendationsQuery,
)
from serving.api.response_schemas import (
    Difficulty,
    LearningPath,
    PredictResponse,
    Recommendations,
)
from serving.http.endpoints import Endpoint, answer

if TYPE_CHECKING:
    from serving.engine.engine import Engine


async def recommendations(request: Request, asked: RecommendationsQuery) -> Response:
    """Recommend the topics that a learner should study next."""
    engine = _engine(request)
    found = engine.recommend_next_topics(
        await engine.context_for(asked.username),
        asked.count,
        exclude_mastered=asked.exclude_mastered,
        only_new=asked.only_new,
        respect_prerequisites=asked.respect_prerequisites,
    )
    return answer(found)


async def suggest_difficulty(request: Request, asked: DifficultyQuery) -> Response:
    """Suggest the level of a learner's next quiz on a topic."""
    engine = _engine(request)
    context = await engine.context_for(asked.username)
    return answer(engine.suggest_quiz_difficulty(context, asked.topic_id))


async def learning_path(request: Request, asked: LearningPathQuery) -> Response:
    """Plan a learner's next steps to a goal."""
    engine = _engine(request)
    found = engine.adapt_learning_path(
        await engine.context_for(asked.username),
        asked.steps,
        topic_id=asked.topic_id,
        domain=asked.domain,
        preferred=asked.format,
    )
    return answer(found)


async def predict(request: Request, _: Query, sent: PredictBody) -> Response:
    """Return a model's predictions for given inputs."""
    return answer(_engine(request).predict(sent.features, sent.model))


def _engine(request: Request) -> "Engine":
    engine: Engine = request.app.state.engine
    return engine


ENDPOINTS = (
    Endpoint(
        "GET",
        "/api/user/{username}/recommendations",
        recommendations,
        "Recommend the next topics",
        Recommendations,
        RecommendationsQuery,
        example=examples.RECOMMENDATIONS,
    ),
    Endpoint(
        "GET",
        "/api/learning/topic/{topic_id}/difficulty/suggest",
        suggest_difficulty,
        "Suggest the difficulty of the next quiz",
        Difficulty,
        DifficultyQuery,
        example=examples.DIFFICULTY,
    ),
    Endpoint(
        "GET",
        "/api/user/{username}/learning-path",
        learning_path,
        "List the next steps to a goal",
        LearningPath,
        LearningPathQuery,
        example=examples.LEARNING_PATH,
    ),
    Endpoint(
        "POST",
        "/predict",
        predict,
        "Query a model directly",
        PredictResponse,
        body=PredictBody,
        statuses=(503,),
        example=examples.PREDICTIONS,
    ),
)
