"""Recommendations: ranked topics with difficulty, expected success and reasons."""

from collections.abc import Sequence
from itertools import islice
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from sensei.contracts import TOPIC_INPUTS
from serving.engine.difficulty import suggested
from serving.engine.mastery import finished
from serving.engine.ranking import RankingOptions, best, is_offered, offerable, shares
from serving.engine.reason_texts import WORDS, ReasonContext
from serving.engine.request_context import LOG_UNREACHABLE, NO_MODEL, EngineResult, RequestContext
from serving.state.model import Model

CANDIDATES = 20
"""Maximum number of topics logged per recommendation, best first; at least the topics shown."""

Reason = dict[str, Any]
"""Keys `cause`, `text` and `without`, which is the probability without that cause."""


class Ranking(NamedTuple):
    """Ranked topics, the most probable first.

    Attributes:
        topics: (topic id, probability) of offered topics; may be more than are shown.
        reasons: reasons of the topics shown.
        source: `model`, `version` and `fallback`.
        inputs: inputs that the model read; None without a model.
    """

    topics: Sequence[tuple[int, float | None]]
    reasons: list[list[Reason]]
    source: dict[str, Any]
    inputs: dict[str, Any] | None = None


def recommend(context: RequestContext, options: RankingOptions) -> EngineResult:
    """Recommend the next topics.

    The model ranks if it can. In the control arm, or if the log is unreachable, popularity ranks.
    Without a model the curriculum's order applies. A learner never seen is ranked by the model too:
    first topics were part of its training and evaluation.
    """
    model = context.able("recommendation")
    if model is None:
        ranking = in_curriculum_order(context, options)
    elif context.arm == "control" or context.unknown == LOG_UNREACHABLE:
        ranking = by_popularity(context, model, options)
    else:
        ranking = by_model(context, model, options)
    shown = ranking.topics[: options.count]
    tested = suggested(context, [topic_id for topic_id, _ in shown])
    listed = [
        {
            "topic_id": topic_id,
            "title": context.catalogue.title(topic_id),
            "probability": probability,
            **each,
            "reasons": reasons,
        }
        for (topic_id, probability), each, reasons in zip(
            shown, tested, ranking.reasons, strict=True
        )
    ]
    return EngineResult(
        {"recommendations": listed, **ranking.source},
        [each["topic_id"] for each in listed],
        candidates=ranking.topics,
        inputs=ranking.inputs,
    )


def by_model(context: RequestContext, model: Model, options: RankingOptions) -> Ranking:
    """Rank by the model; the same call computes the effect of each cause."""
    learner, catalogue, now = context.learner, context.catalogue, context.now_us
    corpus = model.corpora["recommendation"]
    given = model.next_topic_inputs(learner, now)
    kept = offerable(options, learner.history, corpus, catalogue, model.taken, now)
    share = shares(model.probabilities(model.counterfactuals.of(given)), kept)
    places = best(share[0], kept, max(options.count, CANDIDATES))
    known = given["topics"].reshape(-1, len(TOPIC_INPUTS)) if "topics" in given else None
    ids = cast("list[int]", corpus.topic_ids)  # every offered slot has a topic
    reasons = []
    for place in places[: options.count]:
        told = ReasonContext(
            ids[place],
            None if known is None else known[place],
            learner.history,
            catalogue,
            now,
        )
        speaking = model.counterfactuals.speaking_for(share[:, place])
        reasons.append(
            [
                {"cause": cause.name, "text": WORDS[cause.name](told), "without": without}
                for cause, without in speaking
            ]
        )
    topics = [(ids[each], float(share[0, each])) for each in places]
    source = {**model.source("recommendation"), "fallback": context.unknown}
    return Ranking(topics, reasons, source, {"inputs": given["inputs"][0]})


def by_popularity(context: RequestContext, model: Model, options: RankingOptions) -> Ranking:
    """Rank by the number of events of all learners per topic, up to the training cutoff."""
    corpus = model.corpora["recommendation"]
    events = np.zeros((1, len(model.taken)), np.float32)
    counted = corpus.statistics.topic_events
    events[0, : len(counted)] = counted
    history, catalogue = context.learner.history, context.catalogue
    kept = offerable(options, history, corpus, catalogue, model.taken, context.now_us)
    share = shares(events, kept)[0]
    places = best(share, kept, max(options.count, CANDIDATES))
    even = 1.0 / max(int(kept.sum()), 1)
    reasons = [_popular(share, place, even) for place in places[: options.count]]
    ids = cast("list[int]", corpus.topic_ids)  # every offered slot has a topic
    topics = [(ids[each], float(share[each])) for each in places]
    source = {"model": "most_popular", "version": None, "fallback": context.unknown}
    return Ranking(topics, reasons, source)


def _popular(share: NDArray[np.float32], place: int, even: float) -> list[Reason]:
    if share[place] <= even:
        return []
    text = "it is one of the topics that learners study most"
    return [{"cause": "popular", "text": text, "without": even}]


def in_curriculum_order(context: RequestContext, options: RankingOptions) -> Ranking:
    """Rank in the curriculum's order, with the topics that the learner has finished at the end."""
    history, catalogue = context.learner.history, context.catalogue
    offered = is_offered(options, history, catalogue, context.now_us)
    done = {each for each, row in history.topics.items() if finished(row)}
    in_order = sorted(filter(offered, catalogue.topics), key=done.__contains__)  # stable
    topics = [(each, None) for each in islice(in_order, max(options.count, CANDIDATES))]
    text = "it comes next in the order of the curriculum"
    reason = {"cause": "curriculum", "text": text, "without": None}
    source = {"model": "curriculum_order", "version": None, "fallback": NO_MODEL}
    return Ranking(topics, [[reason] for _ in topics[: options.count]], source)
