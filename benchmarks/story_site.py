"""Simulated learners who use the service over HTTP, in simulated time."""

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa

from sensei.simulation import Acts, Cohort
from sensei.simulation.choices import QUIZ
from sensei.simulation.record import to_table

DAY = timedelta(days=1)
OPENED = 10.0
"""Seconds from opening the page to the session's first activity."""

RATED = 16.0
"""Seconds from the end of an activity to its report, which includes its rating."""


class Clock:
    """Simulated clock of the service, stored in a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def show(self, seconds: float) -> None:
        """Set the time, in seconds since 1970; the file is replaced atomically."""
        new_file = self.path.with_suffix(".new")
        new_file.write_text(str(int(1e6 * seconds)))
        new_file.replace(self.path)


class Site:
    """Simulated web site between a cohort and the service.

    Args:
        cohort: the simulated learners.
        topics: the curriculum of the cohort.
        clock: clock of the service.
    """

    def __init__(self, cohort: Cohort, topics: list[dict[str, Any]], clock: Clock) -> None:
        self.cohort, self.clock = cohort, clock
        self._ids = [topic["topic_id"] for topic in topics]
        self._place = {topic_id: at for at, topic_id in enumerate(self._ids)}
        self._pages = np.full((len(cohort.user_ids), 3), -1)
        self._count = 0
        self.client = httpx.Client(timeout=60)

    def live_alone(self, until: datetime) -> pa.Table:
        """Let all learners act without a service, in curriculum order; return the events."""
        while len(self.cohort.step(self.cohort.next_in_curriculum(), until).learner):
            pass
        return self.cohort.table()

    def live(self, since: datetime, until: datetime) -> int:
        """Let all learners act with the service, day by day; return the number of events."""
        before = self._count
        while since < until:
            since += DAY
            while len(due := self.cohort.due(since)):
                self._open_pages(due)
                acts = self.cohort.step(self._pages, since)
                self._open_quizzes(acts)
                self._post(acts)
        return self._count - before

    def _open_pages(self, due: Any) -> None:
        moments, fresh = self.cohort.moments, self.cohort.fresh
        for learner in due[fresh[due]].tolist():
            self.clock.show(moments[learner] - OPENED)
            answer = self._get(f"/api/user/{self.cohort.user_ids[learner]}/recommendations")
            topics = [self._place[row["topic_id"]] for row in answer["recommendations"]]
            self._pages[learner] = (topics + [-1] * 3)[:3]

    def _open_quizzes(self, acts: Acts) -> None:
        """Request a suggestion for each quiz, after its choice: learners ignore suggestions."""
        for row in np.flatnonzero(acts.kind == QUIZ).tolist():
            self.clock.show(acts.begin[row] - 1)
            learner = self.cohort.user_ids[acts.learner[row]]
            topic = self._ids[acts.topic[row]]
            self._get(f"/api/learning/topic/{topic}/difficulty/suggest?username={learner}")

    def _get(self, path: str) -> Any:
        return self.client.get(path).raise_for_status().json()

    def _post(self, acts: Acts) -> None:
        """Post each activity after its end, with the rating that follows it."""
        for row in range(len(acts.learner)):
            self.clock.show(acts.end[row] + RATED)
            events = list(self._events(acts.take(np.array([row]))))
            if events:  # empty if the activity ends after the simulation
                self.client.post("/api/interactions", json=events).raise_for_status()

    def _events(self, acts: Acts) -> Iterator[dict[str, Any]]:
        world = self.cohort
        table = to_table([acts], world.topics, world.user_ids, world.draws, world.seed, world.end)
        for row in table.to_pylist():
            self._count += 1
            yield row | {
                "event_id": f"story-{self._count}",
                "timestamp": row["timestamp"].isoformat(),
                "metadata": json.loads(row["metadata"]) if row["metadata"] else None,
            }
