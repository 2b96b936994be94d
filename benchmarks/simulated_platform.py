"""Simulated platform in one process: learners, the serving engine, and the log of both.

The engine, the arms, the recent popularity and the log of answers are those of the service. Only
the histories are kept in memory, and the log is written once per week, so that hundreds of weeks
take one hour.

A learner requests recommendations at the start of a session and keeps that page until its end.
Before each quiz the page of its topic requests a difficulty.
"""

import sqlite3
import time
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from worlds import CATALOGUE, TOPICS

from features.batch import Events, encode
from sensei import curriculum
from sensei.bundle.bundle_format import Bundle
from sensei.events.frames import from_arrow
from sensei.events.log import Event, open_log
from sensei.events.rules_arrow import check_table
from sensei.simulation import Acts, Cohort, Shift
from sensei.simulation.choices import QUIZ
from sensei.simulation.record import to_table
from sensei.simulation.shift import Change
from sensei.storage import database
from serving.engine.engine import Engine
from serving.state.arms import Arms
from serving.state.catalogue import Catalogue
from serving.state.learners import LearnerCache
from serving.state.model import Model
from serving.state.topic_popularity import TopicPopularity
from serving.storage.prediction_log import PredictionLog

WEEK = timedelta(days=7)
KEPT_DAYS = 1_000
OPENED = 10.0
"""Seconds from opening the page to the first activity of a session."""


class Histories:
    """In-memory replacement of the log for `LearnerCache`.

    All events between two requests count as one write, so that a history is advanced and never
    folded again from the start.
    """

    def __init__(self) -> None:
        self._events: dict[str, list[Event]] = {}
        self._asked: dict[str, int] = {}
        self._revision: dict[str, int] = {}

    def append(self, checked: pa.Table) -> None:
        """Add rows; the rows of each learner are in time order."""
        for row in checked.drop_columns("metadata").to_pylist():
            history = self._events.setdefault(row.pop("user_id"), [])
            moment = row.pop("timestamp")
            history.append(
                Event(id=len(history) + 1, timestamp=round(1e6 * moment.timestamp()), **row)
            )

    def revision(self, user_id: str) -> int | None:
        """Return the learner's revision, like `Log.revision`."""
        count = len(self._events.get(user_id, ()))
        if not count:
            return None
        if self._asked.get(user_id) != count:
            self._asked[user_id] = count
            self._revision[user_id] = self._revision.get(user_id, 0) + 1
        return self._revision[user_id]

    def read_learner(self, user_id: str, after_id: int = 0) -> list[Event]:
        """Return the learner's events after an id, like `Log.read_learner`."""
        return self._events[user_id][after_id:]


class Platform:
    """Simulated learners, and the engine that answers them.

    Args:
        home: folder of the log.
        cohort: the simulated learners.
        control: share of learners in the control arm, served by counting.
        first: share of learners who are always served by the first champion.
    """

    def __init__(
        self, home: Path, cohort: Cohort, control: float = 0.05, first: float = 0.0
    ) -> None:
        self._home = home
        url = f"sqlite:///{home / 'sensei.db'}"
        database.upgrade(url)
        self.log = open_log(url)
        if self.log.is_empty():
            curriculum.store(self.log.engine, CATALOGUE)
        self.cohort = cohort
        self._now_us = 0
        self._histories, self._lately = Histories(), TopicPopularity()
        self._answers = PredictionLog(lambda: open_log(url), KEPT_DAYS, self._clock)
        self.engine = Engine(
            LearnerCache(lambda: self._histories, time.monotonic, 10_000),  # type: ignore[arg-type]
            None,
            Catalogue.of(CATALOGUE.topics),
            self._clock,
            Arms(control, first),
            self._answers.put,
        )
        self._place = {topic["topic_id"]: at for at, topic in enumerate(TOPICS)}
        self._pages = np.full((len(cohort.user_ids), 3), -1)
        self._rows = 0
        self._waiting: list[pa.Table] = []
        self._written: list[pa.Table] = []
        self.now = datetime.fromtimestamp(float(cohort.moments.min()), UTC).replace(
            hour=0, minute=0, second=0
        )

    def _clock(self) -> int:
        return self._now_us

    @property
    def events(self) -> Events:
        """Encoded log; the same as reading it from the database."""
        return encode(from_arrow(pa.concat_tables(self._written)))

    def serve(self, bundle: Bundle) -> None:
        """Serve a bundle from now on; the first one also serves the learners of `first`."""
        engine, model = self.engine, Model.of(bundle)
        engine.swap(model=model)
        if engine.state.arms.challenger and not engine.state.challenger:
            engine.swap(challenger=model)
        self._lately = TopicPopularity()
        self._refresh()

    def branch(self, home: Path, shift: Shift) -> "Platform":
        """Copy the platform into a world that shifts; this platform is not changed."""
        paths = [folder / "sensei.db" for folder in (self._home, home)]
        with sqlite3.connect(paths[0]) as source, sqlite3.connect(paths[1]) as target:
            source.backup(target)
        arms = self.engine.state.arms
        copy = Platform(home, deepcopy(self.cohort), arms.control, arms.challenger)
        copy.cohort.change = Change.of(shift, [topic["domain"] for topic in TOPICS])
        copy._written = list(self._written)
        copy._histories = deepcopy(self._histories)
        copy._pages, copy._rows, copy.now = self._pages.copy(), self._rows, self.now
        if self.engine.state.model:
            copy.engine.swap(challenger=self.engine.state.challenger)
            copy.serve(self.engine.state.model.bundle)
        return copy

    def live(self, until: datetime) -> None:
        """Let all learners act until a moment, week by week."""
        while self.now < until:
            if self.engine.state.model:
                self._refresh()
            self.now = min(self.now + WEEK, until)
            self._live_week()

    def _live_week(self) -> None:
        while len(due := self.cohort.due(self.now)):
            if self.engine.state.model:
                self._open_pages(due)
            else:
                self._pages = self.cohort.next_in_curriculum()
            acts = self.cohort.step(self._pages, self.now)
            if self.engine.state.model:
                self._open_quizzes(acts)
            self._take(acts)
        self._write()

    def _open_pages(self, due: Any) -> None:
        moments, fresh = self.cohort.moments, self.cohort.fresh
        for learner in due[fresh[due]].tolist():
            self._now_us = int(1e6 * (moments[learner] - OPENED))
            answer = self.engine.recommend_next_topics(
                self.engine.blocking_context_for(self.cohort.user_ids[learner])
            )
            topics = [self._place[row["topic_id"]] for row in answer["recommendations"]]
            self._pages[learner] = (topics + [-1] * 3)[:3]

    def _open_quizzes(self, acts: Acts) -> None:
        """Request a suggestion for each quiz, after the quiz: learners ignore suggestions."""
        for row in np.flatnonzero(acts.kind == QUIZ).tolist():
            self._now_us = int(1e6 * acts.begin[row]) - 1
            learner = self.cohort.user_ids[acts.learner[row]]
            topic = TOPICS[acts.topic[row]]["topic_id"]
            self.engine.suggest_quiz_difficulty(self.engine.blocking_context_for(learner), topic)

    def _take(self, acts: Acts) -> None:
        world = self.cohort
        table = to_table([acts], world.topics, world.user_ids, world.draws, world.seed, world.end)
        ids = pa.array([f"{self._rows + at:x}" for at in range(table.num_rows)])
        self._rows += table.num_rows
        column_index = table.column_names.index("event_id")
        checked, rejected = check_table(
            table.set_column(column_index, "event_id", ids), datetime.fromtimestamp(world.end, UTC)
        )
        assert not rejected
        self._histories.append(checked)
        self._waiting.append(checked)

    def _write(self) -> None:
        if self._waiting:
            self._written.append(pa.concat_tables(self._waiting))
            self.log.append_table(self._written[-1], "simulation", now=self.now)
        self._waiting = []
        self._answers.flush()

    def _refresh(self) -> None:
        """Refresh the recent popularity up to now, as serving does."""
        state = self.engine.state
        since = min(model.trained_until for model in (state.model, state.challenger) if model)
        self._lately.read(self.log, since, int(1e6 * self.now.timestamp()))
        reading = self._lately.of(state.catalogue.topics.values())
        self.engine.swap(
            model=state.model and state.model.with_popularity(reading),
            challenger=state.challenger and state.challenger.with_popularity(reading),
        )
