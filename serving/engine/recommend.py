"""Recommendations: ranked topics with difficulty, expected success and reasons."""

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import numpy as np

from sensei.contracts import TOPIC_INPUTS
from serving.engine.difficulty import suggested
from serving.engine.mastery import finished
from serving.engine.ranking import RankingOptions, best, excluded_topics, is_open, offerable, shares
from serving.engine.reason_texts import WORDS, ReasonContext
from serving.engine.reasons import counterfactuals_of
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
    ids = [topic_id for topic_id, _ in shown]
    title = context.state.catalogue.title
    listed = [
        {
            "topic_id": topic_id,
            "title": title(topic_id),
            "probability": probability,
            **level,
            "reasons": reasons,
        }
        for (topic_id, probability), level, reasons in zip(
            shown, suggested(context, ids), ranking.reasons, strict=True
        )
    ]
    return EngineResult(
        {"recommendations": listed, **ranking.source},
        ids,
        candidates=ranking.topics,
        inputs=ranking.inputs,
    )


def by_model(context: RequestContext, model: Model, options: RankingOptions) -> Ranking:
    """Rank by the model; the same call computes the effect of each cause."""
    learner, catalogue, now = context.learner, context.state.catalogue, context.now_us
    corpus = model.corpora["recommendation"]
    counterfactuals = counterfactuals_of(model.input_widths["recommendation"])
    inputs = model.next_topic_inputs(learner, now)
    offered = offerable(options, learner.history, corpus, catalogue, model.taken, now)
    share = shares(model.probabilities(counterfactuals.of(inputs)), offered)
    slots = best(share[0], offered, max(options.count, CANDIDATES))
    features = inputs["topics"].reshape(-1, len(TOPIC_INPUTS)) if "topics" in inputs else None
    ids = cast("list[int]", corpus.topic_ids)  # every offered slot has a topic
    shown = slots[: options.count]
    reasons: list[list[Reason]] = []
    for slot, causes in zip(shown, counterfactuals.supporting(share[:, shown]), strict=True):
        row = None if features is None else features[slot]
        facts = ReasonContext(ids[slot], row, learner.history, catalogue, now)
        reasons.append([])
        for cause, without in causes:
            text = WORDS[cause.name](facts)
            reasons[-1].append({"cause": cause.name, "text": text, "without": without})
    probabilities = share[0, slots].tolist()
    topics = [(ids[slot], share_of) for slot, share_of in zip(slots, probabilities, strict=True)]
    source = {**model.source("recommendation"), "fallback": context.unknown}
    return Ranking(topics, reasons, source, {"inputs": inputs["inputs"][0]})


def by_popularity(context: RequestContext, model: Model, options: RankingOptions) -> Ranking:
    """Rank by the number of events of all learners per topic, up to the training cutoff."""
    corpus = model.corpora["recommendation"]
    events = np.zeros((1, len(model.taken)), np.float32)
    counted = corpus.statistics.topic_events
    events[0, : len(counted)] = counted
    history, catalogue = context.learner.history, context.catalogue
    offered = offerable(options, history, corpus, catalogue, model.taken, context.now_us)
    share = shares(events, offered)[0]
    slots = best(share, offered, max(options.count, CANDIDATES))
    even = 1.0 / max(int(offered.sum()), 1)
    reasons = [_popular(share[slot], even) for slot in slots[: options.count]]
    ids = cast("list[int]", corpus.topic_ids)  # every offered slot has a topic
    topics = [(ids[slot], float(share[slot])) for slot in slots]
    source = {"model": "most_popular", "version": None, "fallback": context.unknown}
    return Ranking(topics, reasons, source)


def _popular(share: np.float32, even: float) -> list[Reason]:
    if share <= even:
        return []
    text = "it is one of the topics that learners study most"
    return [{"cause": "popular", "text": text, "without": even}]


def in_curriculum_order(context: RequestContext, options: RankingOptions) -> Ranking:
    """Rank in the curriculum's order, with the topics that the learner has finished at the end."""
    history, catalogue = context.learner.history, context.catalogue
    excluded = excluded_topics(options, history, context.now_us)
    offered = [topic_id for topic_id in catalogue.topics if topic_id not in excluded]
    if options.respect_prerequisites:
        offered = list(filter(is_open(history, catalogue), offered))
    done = {topic_id for topic_id, row in history.topics.items() if finished(row)}
    in_order = sorted(offered, key=done.__contains__)  # stable
    topics = [(topic_id, None) for topic_id in in_order[: max(options.count, CANDIDATES)]]
    text = "it comes next in the order of the curriculum"
    reason = {"cause": "curriculum", "text": text, "without": None}
    source = {"model": "curriculum_order", "version": None, "fallback": NO_MODEL}
    return Ranking(topics, [[reason] for _ in topics[: options.count]], source)
