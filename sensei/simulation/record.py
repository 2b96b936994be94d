"""What was done, and how it stands in a log."""

from dataclasses import dataclass, fields

import numpy as np
import pyarrow as pa

from sensei.simulation.choices import ACCEPTED, FEEDBACK, KINDS, PRACTICE, QUIZ
from sensei.simulation.draws import Bools, Draws, Floats, Ints
from sensei.simulation.traits import LEVELS, Topics

_FORMATS = {2: "lab", 3: "video", 4: "text"}


@dataclass(frozen=True)
class Acts:
    """Learning activities, one a row; topics are positions in the curriculum."""

    learner: Ints  # (n,) position in the cohort
    begin: Floats  # (n,) seconds since 1970
    end: Floats  # (n,) seconds since 1970
    topic: Ints  # (n,)
    kind: Ints  # (n,) code: quiz, practice, resource, video, text
    level: Ints  # (n,) code of a quiz's level, -1 without one
    item: Ints  # (n,) quiz or task of the topic, -1 without one
    score: Floats  # (n,) fraction, NaN without one
    looked: Bools  # (n,) the learner moved on and looked at what was offered
    accepted: Bools  # (n,) and took one of the offered topics
    taste: Floats  # (n,) latent interest in the topic
    number: Ints  # (n,) how-manieth act of the learner, from 0

    def take(self, rows: Bools | Ints) -> "Acts":
        """The acts of the given rows."""
        return Acts(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})


def to_table(
    history: list[Acts], topics: Topics, user_ids: list[str], draws: Draws, seed: int, end: float
) -> pa.Table:
    """Events of the log: each act, what was accepted before it and the feedback after it.

    The timestamp of an act is its end. Some views have no duration: a closed tab tells nothing.
    """
    acts = Acts(
        **{
            field.name: np.concatenate([getattr(part, field.name) for part in history])
            for field in fields(Acts)
        }
    )
    who, step = acts.learner, acts.number
    unknown = (acts.kind > PRACTICE) & (draws.uniform("closed tab", who, step) < 0.06)
    seconds = np.where(unknown, np.nan, acts.end - acts.begin)
    accepted = np.flatnonzero(acts.accepted.astype(np.bool_))
    rated, ratings = _ratings(acts, draws)
    row = np.concatenate([accepted, np.arange(len(who)), rated])
    kind = np.concatenate(
        [np.full(len(accepted), ACCEPTED), acts.kind, np.full(len(rated), FEEDBACK)]
    ).astype(np.int64)
    moment = np.concatenate([acts.begin[accepted] - 5, acts.end, acts.end[rated] + 15])
    learning = kind < ACCEPTED
    details = [None] * len(accepted) + _details(acts, topics) + ratings
    order = np.lexsort((moment, who[row]))
    learner = who[row][order]
    first = np.searchsorted(learner, learner, side="left")
    ordinal = np.empty(len(row), dtype=np.int64)
    ordinal[order] = np.arange(len(row)) - first
    by_time = np.lexsort((who[row], moment))
    by_time = by_time[moment[by_time] <= end]
    row, kind, moment, learning = row[by_time], kind[by_time], moment[by_time], learning[by_time]
    return pa.table(
        {
            "event_id": pa.array(
                [
                    f"simulated-{seed}-{one}-{nth}"
                    for one, nth in zip(who[row].tolist(), ordinal[by_time].tolist(), strict=True)
                ],
                pa.string(),
            ),
            "user_id": pa.array([user_ids[one] for one in who[row].tolist()], pa.string()),
            "interaction_type": pa.array([KINDS[code] for code in kind.tolist()], pa.string()),
            "topic_id": pa.array(topics.ids[acts.topic[row].astype(np.int64)], pa.int64()),
            "score": pa.array(np.where(learning, acts.score[row], np.nan), from_pandas=True),
            "duration_seconds": pa.array(
                np.where(learning, seconds[row], np.nan), pa.float64(), from_pandas=True
            ).cast(pa.int64()),
            "timestamp": pa.array((moment * 1e6).astype(np.int64), pa.timestamp("us", tz="UTC")),
            "metadata": pa.array([details[at] for at in by_time.tolist()], pa.string()),
        }
    )


def _details(acts: Acts, topics: Topics) -> list[str | None]:
    """The metadata of each act as JSON text."""
    texts: list[str | None] = []
    rows = zip(
        acts.kind.tolist(),
        topics.ids[acts.topic.astype(np.int64)].tolist(),
        acts.level.tolist(),
        acts.item.tolist(),
        strict=True,
    )
    for kind, topic, level, item in rows:
        if kind == QUIZ:
            name = LEVELS[level]
            text = f'{{"difficulty":"{name}","item_id":"{topic}-{name}-{item + 1}"}}'
        elif kind == PRACTICE:
            text = f'{{"item_id":"{topic}-task-{item + 1}"}}'
        else:
            text = f'{{"format":"{_FORMATS[kind]}"}}'
        texts.append(text)
    return texts


def _ratings(acts: Acts, draws: Draws) -> tuple[Ints, list[str | None]]:
    """Rows of acts on accepted topics that were rated, and the feedback's metadata.

    One in three accepted topics is rated: higher for what the learner likes and succeeds in.
    """
    answers = draws.uniform("answers feedback", acts.learner, acts.number) < 0.35
    rated = np.flatnonzero(acts.accepted.astype(np.bool_) & answers)
    some = acts.take(rated)
    outcome = np.where(np.isnan(some.score), 0.0, 2.0 * (some.score - 0.6))
    noise = 0.7 * draws.normal("rating", some.learner, some.number)
    stars = np.clip(np.rint(3.5 + 0.8 * some.taste + outcome + noise), 1, 5).astype(int)
    texts: list[str | None] = [
        f'{{"helpful":{"true" if star >= 3 else "false"},"rating":{star}}}'
        for star in stars.tolist()
    ]
    return rated, texts
