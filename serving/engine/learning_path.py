"""Learning path: the next steps to a goal, with difficulty, minutes, resource and reason."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from features.learner_state import T_STREAK
from sensei.contracts import Format
from sensei.curriculum import Resource, Topic
from sensei.errors import InvalidInput
from serving.engine.difficulty import suggested
from serving.engine.mastery import last_score
from serving.engine.request_context import (
    NO_MODEL,
    STALE_LEARNER,
    UNKNOWN_TOPIC,
    EngineResult,
    RequestContext,
)
from serving.engine.study_plan import Step, in_order, open_topics
from serving.state.catalogue import Catalogue
from serving.state.study_times import StudyTimes

FORMAT_OF: dict[str, Format] = {"visual": "video", "kinesthetic": "lab", "mixed": "text"}
"""Preferred resource format by learning style."""

KIND_OF: dict[str, str] = {"text": "text_read", "video": "video_view", "lab": "practice_attempt"}
"""Kind of event by resource format."""


@dataclass(frozen=True)
class Goal:
    """Goal of a learning path: a topic, a domain, or by default the whole curriculum."""

    topic_id: int | None = None
    domain: str | None = None

    def topics(self, catalogue: Catalogue) -> list[int]:
        """Return the topics that the learner has to finish.

        Raises:
            InvalidInput: two goals at once, or a goal that the catalogue does not offer.
        """
        if self.topic_id is not None:
            if self.domain is not None:
                raise InvalidInput("domain: expected one goal, got a topic too; leave one out")
            if catalogue.topics and self.topic_id not in catalogue.topics:
                raise InvalidInput(
                    "topic_id: expected a topic that the catalogue offers, got "
                    f"{self.topic_id}; send one of its topics"
                )
            return [self.topic_id]
        if self.domain is not None and self.domain not in catalogue.domains:
            domains = ", ".join(catalogue.domains) or "none"
            raise InvalidInput(
                f"domain: expected one of the catalogue ({domains}), got {self.domain!r:.80}; "
                "send one of them"
            )
        topics = catalogue.topics.values()
        return [topic.topic_id for topic in topics if self.domain in (None, topic.domain)]

    def named(self, catalogue: Catalogue) -> str:
        """Return the goal as text."""
        if self.topic_id is not None:
            return catalogue.title(self.topic_id)
        return self.domain or "the whole curriculum"


def learning_path(
    context: RequestContext, goal: Goal, steps: int, preferred: Format
) -> EngineResult:
    """Plan the next steps to a goal, prerequisites first; each request plans again.

    Args:
        context: the request.
        goal: the goal of the path.
        steps: maximum number of steps, at least 1.
        preferred: preferred format of the resources.

    Raises:
        InvalidInput: there is no such goal.
    """
    catalogue, topics = context.catalogue, context.learner.history.topics
    durations = context.state.durations
    if goal.topic_id is not None:
        goal = replace(goal, topic_id=catalogue.current(goal.topic_id))
    goals = goal.topics(catalogue)
    open_now = open_topics(goals, topics, catalogue)
    appeal, source = _appeal(context)
    if goal.topic_id is not None and goal.topic_id not in catalogue.topics:
        source["fallback"] = source["fallback"] or UNKNOWN_TOPIC
    planned = in_order(open_now, steps, catalogue, appeal)
    levels = suggested(context, [step.topic_id for step in planned])
    listed = [
        {
            "topic_id": step.topic_id,
            "title": catalogue.title(step.topic_id),
            "status": step.status,
            **level,
            **_material(catalogue.topics.get(step.topic_id), preferred, durations),
            "why": _why(step, context, goals, open_now),
        }
        for step, level in zip(planned, levels, strict=True)
    ]
    content = {
        "learning_path": listed,
        "goal": goal.named(catalogue),
        "remaining": len(open_now),
        "format": preferred,
    }
    return EngineResult(content | source, [step.topic_id for step in planned], goal.topic_id)


def _appeal(context: RequestContext) -> tuple[Callable[[int], float], dict[str, Any]]:
    """Return a function topic id -> probability of being next, and the source of the values.

    The function returns 0 for every topic if the model cannot rank for this request.
    """
    model = context.able("recommendation")
    is_known = context.unknown in (None, STALE_LEARNER)
    if model is None or not is_known or context.arm == "control":
        fallback = context.unknown if model else NO_MODEL
        source = {"model": "curriculum_order", "version": None, "fallback": fallback}
        return lambda _: 0.0, source
    likely = model.next_topics(context.learner, context.now_us)
    slots = model.corpora["recommendation"].slots

    def appeal(topic_id: int) -> float:
        index = slots[topic_id] - 1
        return float(likely[index]) if 0 <= index < len(likely) else 0.0

    return appeal, {**model.source("recommendation"), "fallback": context.unknown}


def _material(topic: Topic | None, preferred: Format, durations: StudyTimes) -> dict[str, Any]:
    """Return the study resource of a topic, and the minutes that it and a quiz take."""
    if topic is None:
        return {"domain": None, "resource": None, "minutes": None, "minutes_from": None}
    resource = next(
        (resource for resource in topic.resources if resource.kind == preferred),
        topic.resources[0] if topic.resources else None,
    )
    minutes, source = _minutes(topic, resource, durations)
    shown = resource and resource.model_dump(include={"resource_id", "kind", "title", "url"})
    return {
        "domain": topic.domain,
        "resource": shown,
        "minutes": minutes,
        "minutes_from": source,
    }


def _minutes(
    topic: Topic, resource: Resource | None, durations: StudyTimes
) -> tuple[int | None, str | None]:
    """Return whole minutes and their source, `log` or `catalogue`; None without a source."""
    kind = KIND_OF[resource.kind] if resource else "resource_view"
    quiz = durations.minutes.get((topic.topic_id, "quiz_complete"), 0.0)
    logged = durations.minutes.get((topic.topic_id, kind))
    if logged is not None:
        return max(1, round(logged + quiz)), "log"
    planned = (resource and resource.minutes) or topic.minutes
    return (round(planned + quiz), "catalogue") if planned else (None, None)


def _why(
    step: Step, context: RequestContext, goals: Iterable[int], open_now: dict[int, Step]
) -> str:
    """Return the reason for a step's position in the path, as shown to the learner."""
    catalogue, row = context.catalogue, context.learner.history.topics.get(step.topic_id)
    if step.because is not None:
        times = int(-context.learner.history.topics[step.because][T_STREAK])
        failed = catalogue.title(step.because)
        return f"you failed “{failed}” {times} times in a row, and it builds on this topic"
    if step.status == "failed" and row is not None:
        return f"you failed it last time, with {last_score(row):.0%}"
    if step.status == "started":
        return "you have started it and not passed it yet"
    waiting = [
        topic_id for topic_id in open_now if step.topic_id in catalogue.prerequisites(topic_id)
    ]
    if waiting:
        return f"{_titles(waiting, catalogue)} build{'s' * (len(waiting) == 1)} on it"
    before = catalogue.prerequisites(step.topic_id)
    if before:
        return f"you have finished its prerequisites: {_titles(before, catalogue)}"
    return "it is the goal" if step.topic_id in goals else "it has no prerequisites"


def _titles(topic_ids: Iterable[int], catalogue: Catalogue) -> str:
    titles = [f"“{catalogue.title(topic_id)}”" for topic_id in topic_ids]  # titles contain commas
    shown = titles[:2] + ([f"{len(titles) - 2} more"] if len(titles) > 2 else [])
    return " and ".join(shown) if len(shown) < 3 else f"{shown[0]}, {shown[1]} and {shown[2]}"
