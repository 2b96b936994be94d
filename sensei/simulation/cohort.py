"""The cohort: every step, each learner whose time has come does one thing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa

from sensei.simulation import calendar, memory, responses
from sensei.simulation.choices import (
    PRACTICE,
    QUIZ,
    Mind,
    kind_utility,
    level_utility,
    offered_bonus,
    staying,
    topic_utility,
)
from sensei.simulation.draws import Bools, Draws, Floats, Ints
from sensei.simulation.record import Acts, to_table
from sensei.simulation.shift import Change, Shift
from sensei.simulation.traits import ITEMS, draw_learners, draw_topics

OFFERED = 3
"""Topics that the simulated platform offers at a time."""


@dataclass
class Progress:
    """Where L learners stand; changes with every step."""

    clock: Floats  # (L,) start of the next act in seconds since 1970; inf: left for ever
    traces: Floats  # (L, T, 4) memory as of `seen`
    seen: Floats  # (L,) start of the last act
    touched: Bools  # (L, T)
    best: Floats  # (L, T) last score on the topic, NaN without one
    current: Ints  # (L,) topic of the last act, -1 at first
    streak: Ints  # (L,) acts in a row on it
    kind: Ints  # (L,) kind of the last act, -1 at first
    score: Floats  # (L,) score of the last act, NaN without one
    acts: Ints  # (L,)
    sessions: Ints  # (L,) sessions begun
    in_session: Ints  # (L,) acts since the session began; 0: it begins now
    attempts: Ints  # (L,) scored acts of the session
    failures: Ints  # (L,) of these, below the pass mark


class Cohort:
    """Simulated learners who act step by step, with or without topics offered to them."""

    def __init__(
        self,
        learners: int,
        days: int,
        seed: int,
        topics: Sequence[Mapping[str, Any]],
        end: datetime,
        stay_days: int | None = None,
        shift: Shift | None = None,
    ) -> None:
        """Draw a world and its learners; nobody has acted yet.

        Args:
            learners: as for `simulate`, as are the next four.
            days: see there.
            seed: see there.
            topics: see there.
            end: see there.
            stay_days: Learners join evenly over the whole time and stay at most so many days: a
                world that is the same at all times, once as many days have gone by. Without it
                they join early, and stay as long as they like.
            shift: What changes in the midst of it.
        """
        if end.tzinfo is None:
            raise ValueError(f"end: expected an aware moment, got {end}; add a time zone")
        if learners < 1 or days < 1 or not topics:
            raise ValueError(
                "cohort: expected at least one learner, one day and one topic, got "
                f"{learners}, {days}, {len(topics)}; raise them"
            )
        start = np.floor(end.timestamp()) - days * calendar.DAY
        self.seed = seed
        self.end = np.floor(end.timestamp())
        self.draws = Draws(seed)
        self.topics = draw_topics(topics, self.draws)
        self.learners = draw_learners(learners, self.topics, days, self.draws)
        self.change = Change.of(shift, [topic["domain"] for topic in topics])
        self._last = np.full(learners, np.inf)
        if stay_days is not None:
            joined = calendar.DAY * days * self.draws.uniform("joined", np.arange(learners))
            self.learners = replace(self.learners, joined=joined)
            self._last = start + joined + stay_days * calendar.DAY
        self.user_ids = [f"learner-{number:05d}" for number in range(1, learners + 1)]
        self.history: list[Acts] = []
        self.taught: dict[tuple[int, int], list[tuple[float, float, float]]] = {}
        self._prior = memory.brought(self.learners.ability, self.topics.difficulty)
        self._progress = self._begin(start)
        self.step(until=datetime.fromtimestamp(0, UTC))  # nobody is due: an empty first record

    def _begin(self, start: float) -> Progress:
        count, topics = self.learners.ability.shape
        who = np.arange(count)
        zero = np.zeros(count, dtype=np.int64)
        joined = start + self.learners.joined
        clock = calendar.next_session(joined, who, zero, self.learners, self.draws, first=True)
        return Progress(
            clock=clock,
            traces=np.zeros((count, topics, len(memory.FADING))),
            seen=clock.copy(),
            touched=np.zeros((count, topics), dtype=np.bool_),
            best=np.full((count, topics), np.nan),
            current=zero - 1,
            streak=zero.copy(),
            kind=zero - 1,
            score=np.full(count, np.nan),
            acts=zero.copy(),
            sessions=zero + 1,
            in_session=zero.copy(),
            attempts=zero.copy(),
            failures=zero.copy(),
        )

    def due(self, until: datetime | None = None) -> Ints:
        """Learners (n,) whose next act begins before `until`, by default before the end."""
        limit = self.end if until is None else min(self.end, until.timestamp())
        return np.flatnonzero(self._progress.clock < limit)

    @property
    def moments(self) -> Floats:
        """(L,) when each learner acts next, in seconds since 1970; infinity: never again."""
        return self._progress.clock.copy()

    @property
    def fresh(self) -> Bools:
        """(L,) whether the next act of each learner begins a session."""
        return np.equal(self._progress.in_session, 0)

    def next_in_curriculum(self) -> Ints:
        """What a platform without models offers: (L, 3) next topics in order not yet touched."""
        place = np.arange(len(self.topics.ids))
        after = (place - self._progress.current[:, None] - 1) % len(place)
        cost = after + len(place) * self._progress.touched
        nearest = np.argpartition(cost, range(OFFERED), axis=1)[:, :OFFERED]  # no ties: see cost
        return nearest.astype(np.int64)

    def step(self, offered: Ints | None = None, until: datetime | None = None) -> Acts:
        """Let each learner whose next act begins before `until` do it.

        Args:
            offered: (L, k) topics by position in the curriculum, best first, -1 for none; a
                learner sees them when moving on to another topic, and may look or not.
            until: Aware moment; the end of the simulated time without one.

        Returns:
            What was done; no rows when nobody is due.
        """
        who = self.due(until)
        mind = self._mind(who)
        topic, looked = self._choose_topic(mind, offered)
        kind = self._choose_kind(mind, topic)
        level, item, score = self._attempt(mind, topic, kind)
        begin = self._progress.clock[who]
        seconds = calendar.duration(
            kind, level, self.topics.minutes[topic], who, self._progress.acts[who], self.draws
        )
        acts = Acts(
            learner=who,
            begin=begin,
            end=begin + seconds,
            topic=topic,
            kind=kind,
            level=level,
            item=item,
            score=score,
            looked=looked,
            accepted=looked & (offered[who] == topic[:, None]).any(axis=1)
            if offered is not None
            else looked,
            taste=self.learners.interest[who, topic],
            number=self._progress.acts[who],
        )
        self._advance(mind, acts)
        self.history.append(acts.take(acts.end <= self.end))
        return acts

    def _mind(self, who: Ints) -> Mind:
        now = self._progress
        # In place: the traces of the due are brought to the moment of their act.
        elapsed = (now.clock[who] - now.seen[who])[:, None, None]
        traces = memory.fade(now.traces[who], elapsed)
        now.traces[who], now.seen[who] = traces, now.clock[who]
        known = memory.strength(traces)
        ready = memory.readiness(known, self._prior[who], self.topics.share, self.topics.requires)
        return Mind(
            who=who,
            current=now.current[who],
            streak=now.streak[who],
            kind=now.kind[who],
            score=now.score[who],
            fresh=now.in_session[who] == 0,
            strength=known,
            ready=ready,
            proficiency=responses.proficiency(self.learners.ability[who], known, ready),
            touched=now.touched[who],
            best=now.best[who],
        )

    def _choose_topic(self, mind: Mind, offered: Ints | None) -> tuple[Ints, Bools]:
        who, step = mind.who, self._progress.acts[mind.who]
        stays = self.draws.uniform("stay", who, step) < staying(mind, self.learners)
        looked = ~stays & (self.draws.uniform("look", who, step) < self.learners.attention[who])
        looked &= offered is not None
        rows = np.flatnonzero(~stays)
        moving = who[rows]
        utility = topic_utility(mind.take(rows), self.learners, self.topics)
        utility += self.change.gained(self._progress.clock[moving])
        if offered is not None:
            trust = self.learners.trust[moving]
            utility = offered_bonus(utility, offered[moving], looked[rows], trust)
        topic = mind.current.copy()
        topic[rows] = self.draws.choice("topic", moving, step[rows], utility)
        return topic, looked

    def _choose_kind(self, mind: Mind, topic: Ints) -> Ints:
        utility = kind_utility(mind, self.learners, topic)
        return self.draws.choice("kind", mind.who, self._progress.acts[mind.who], utility)

    def _attempt(self, mind: Mind, topic: Ints, kind: Ints) -> tuple[Ints, Ints, Floats]:
        """Level (-1 none), item (-1 none) and score (NaN none) of each act, all (n,)."""
        who, step = mind.who, self._progress.acts[mind.who]
        proficiency = mind.proficiency[np.arange(len(who)), topic]
        judged = proficiency - self.topics.difficulty[topic] + self.learners.confidence[who]
        level = self.draws.choice("level", who, step, level_utility(judged))
        item = np.floor(ITEMS * self.draws.uniform("item", who, step)).astype(np.int64)
        quiz = kind == QUIZ
        able = proficiency - self.change.hardened(self._progress.clock[who])
        bank = self.topics.quiz_difficulty[topic, level, item]
        slope = self.topics.quiz_slope[topic, level, item]
        right = np.where(
            quiz,
            responses.right(able, bank, slope, responses.GUESS),
            responses.right(able, self.topics.task_difficulty[topic, item], 1.0, 0.0),
        )
        luck = self.draws.uniform("answers", who, step, responses.QUESTIONS)
        score = (luck < right[:, None]).mean(axis=1)
        tried = kind <= PRACTICE
        return np.where(quiz, level, -1), np.where(tried, item, -1), np.where(tried, score, np.nan)

    def _advance(self, mind: Mind, acts: Acts) -> None:
        """Learning, and what the next choice and the next session depend on."""
        now, who, topic = self._progress, acts.learner, acts.topic
        ready = mind.ready[np.arange(len(who)), topic]
        gain = memory.gain(memory.TEACHES[acts.kind], self.learners.rate[who], ready)
        now.traces[who, topic] = memory.learn(now.traces[who, topic], gain)
        for row in zip(who.tolist(), topic.tolist(), acts.begin, acts.end, gain, strict=True):
            self.taught.setdefault(row[:2], []).append(row[2:])
        now.touched[who, topic] = True
        tried = acts.kind <= PRACTICE
        failed = tried & (acts.score < 0.6)
        now.best[who[tried], topic[tried]] = acts.score[tried]
        now.streak[who] = np.where(topic == now.current[who], now.streak[who], 0) + 1
        now.current[who], now.kind[who], now.score[who] = topic, acts.kind, acts.score
        now.acts[who] += 1
        now.in_session[who] += 1
        now.attempts[who] += tried
        now.failures[who] += failed
        self._plan(acts, failed)

    def _plan(self, acts: Acts, failed: Bools) -> None:
        """Set when each learner acts next: after a pause, in another session, or never."""
        now, who, step = self._progress, acts.learner, acts.number
        ends = self.draws.uniform("session ends", who, step) < calendar.session_ends(
            now.in_session[who], failed, self.learners.stamina[who]
        )
        share = now.failures[who] / np.maximum(now.attempts[who], 1)
        leaves = ends & (
            self.draws.uniform("leaves", who, step)
            < calendar.leaving(now.sessions[who], share, self.learners.hazard[who])
        )
        rested = acts.end + calendar.pause(who, step, self.draws)
        later = calendar.next_session(acts.end, who, now.sessions[who], self.learners, self.draws)
        following = np.where(leaves, np.inf, np.where(ends, later, rested))
        now.clock[who] = np.where(following < self._last[who], following, np.inf)
        now.sessions[who] += ends
        for counter in (now.in_session, now.attempts, now.failures):
            counter[who[ends]] = 0

    def table(self) -> pa.Table:
        """All events so far in the columns of the data contract, ordered by time."""
        return to_table(self.history, self.topics, self.user_ids, self.draws, self.seed, self.end)
