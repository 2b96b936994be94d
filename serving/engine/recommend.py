"""The topics a learner should turn to next: ranked, with what each would be like, and why."""

from collections.abc import Callable, Sequence
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
from serving.state.catalogue import Catalogue
from serving.state.model import Model

CANDIDATES = 20
"""Topics logged of each recommendation, best first."""

REPEATED_US = 60_000_000
"""Within a minute the same question gets the same answer, as long as nothing happened: a page that
is opened again shows what it showed. Any event of the learner and any other model begins anew."""

Reason = dict[str, Any]
"""`cause`, `text`, and `without`: what the probability would be without that cause."""


class Ranking(NamedTuple):
    """Topics, the most probable first.

    Attributes:
        topics: (topic, probability) of what is offered; more than are shown.
        reasons: of those shown.
        source: `model`, `version` and `fallback`.
        inputs: what the model read.
    """

    topics: Sequence[tuple[int, float | None]]
    reasons: list[list[Reason]]
    source: dict[str, Any]
    inputs: dict[str, Any] | None = None


def recommend(
    question: RequestContext,
    wanted: RankingOptions,
    answered: Callable[[EngineResult], dict[str, Any]],
) -> dict[str, Any]:
    """The next topics; those of this minute, under the same id, where nothing happened since.

    Args:
        question: who asks.
        wanted: which topics.
        answered: makes a reply the answer, with its id, and logs it.
    """
    if question.unknown or question.model is None:
        return answered(computed(question, wanted))
    asked = wanted, question.arm
    # By the bundle: its model is replaced each minute by one that knows what learners did since.
    kept = question.learner.history.remembered("recommendations", question.model.bundle, _Kept)
    # Each learner's own minute: not all at once; one whose clock was set back is over, too.
    is_old = not 0 <= question.now_us - kept.since < REPEATED_US
    if is_old or kept.catalogue is not question.catalogue:
        kept.since, kept.catalogue = question.now_us, question.catalogue
        kept.answers.clear()
    if asked not in kept.answers:
        kept.answers[asked] = answered(computed(question, wanted))
    return kept.answers[asked]


class _Kept:
    """Answers of one minute, by what was wanted and the arm."""

    def __init__(self) -> None:
        self.since = -REPEATED_US
        self.catalogue: Catalogue | None = None
        self.answers: dict[tuple[RankingOptions, str], dict[str, Any]] = {}


def computed(question: RequestContext, wanted: RankingOptions) -> EngineResult:
    """The next topics, by the model, or by counting where it cannot say or the arm is control.

    One never seen is asked about, too: the model has learnt, and was judged on, what is begun with.
    """
    model = question.able("recommendation")
    if model is None:
        ranking = in_curriculum_order(question, wanted)
    elif question.arm == "control" or question.unknown == LOG_UNREACHABLE:
        ranking = by_popularity(question, model, wanted)
    else:
        ranking = by_model(question, model, wanted)
    shown = ranking.topics[: wanted.count]
    tested = suggested(question, [topic_id for topic_id, _ in shown])
    listed = [
        {
            "topic_id": topic_id,
            "title": question.catalogue.title(topic_id),
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


def by_model(question: RequestContext, model: Model, wanted: RankingOptions) -> Ranking:
    """Ranked by the model; the same call says what each cause is worth."""
    learner, catalogue, now = question.learner, question.catalogue, question.now_us
    corpus = model.corpora["recommendation"]
    given = model.next_topic_inputs(learner, now)
    kept = offerable(wanted, learner.history, corpus, catalogue, model.taken, now)
    share = shares(model.probabilities(model.counterfactuals.of(given)), kept)
    places = best(share[0], kept, max(wanted.count, CANDIDATES))
    known = given["topics"].reshape(-1, len(TOPIC_INPUTS)) if "topics" in given else None
    ids = cast("list[int]", corpus.topic_ids)  # what is kept has a topic
    reasons = []
    for place in places[: wanted.count]:
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
    source = {**model.source("recommendation"), "fallback": question.unknown}
    return Ranking(topics, reasons, source, {"inputs": given["inputs"][0]})


def by_popularity(question: RequestContext, model: Model, wanted: RankingOptions) -> Ranking:
    """Ranked by how much all learners studied each topic, up to the training cutoff."""
    corpus = model.corpora["recommendation"]
    events = np.zeros((1, len(model.taken)), np.float32)
    counted = corpus.statistics.topic_events
    events[0, : len(counted)] = counted
    history, catalogue = question.learner.history, question.catalogue
    kept = offerable(wanted, history, corpus, catalogue, model.taken, question.now_us)
    share = shares(events, kept)[0]
    places = best(share, kept, max(wanted.count, CANDIDATES))
    even = 1.0 / max(int(kept.sum()), 1)
    reasons = [_popular(share, place, even) for place in places[: wanted.count]]
    ids = cast("list[int]", corpus.topic_ids)  # what is kept has a topic
    topics = [(ids[each], float(share[each])) for each in places]
    source = {"model": "most_popular", "version": None, "fallback": question.unknown}
    return Ranking(topics, reasons, source)


def _popular(share: NDArray[np.float32], place: int, even: float) -> list[Reason]:
    if share[place] <= even:
        return []
    text = "it is one of the topics that learners study most"
    return [{"cause": "popular", "text": text, "without": even}]


def in_curriculum_order(question: RequestContext, wanted: RankingOptions) -> Ranking:
    """The curriculum's order, what the learner has finished last."""
    history, catalogue = question.learner.history, question.catalogue
    offered = is_offered(wanted, history, catalogue, question.now_us)
    done = {each for each, row in history.topics.items() if finished(row)}
    in_order = sorted(filter(offered, catalogue.topics), key=done.__contains__)  # stable
    topics = [(each, None) for each in islice(in_order, max(wanted.count, CANDIDATES))]
    text = "it comes next in the order of the curriculum"
    reason = {"cause": "curriculum", "text": text, "without": None}
    source = {"model": "curriculum_order", "version": None, "fallback": NO_MODEL}
    return Ranking(topics, [[reason] for _ in topics[: wanted.count]], source)
