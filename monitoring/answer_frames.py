"""Logged answers, and the learners' events around them, as frames."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import Engine

from sensei.contracts import KINDS, LEARNING_KINDS, LEVELS, RESPONSE_KINDS
from sensei.corrections.merged_ids import PRESENT_ID
from sensei.events import bulk_read
from sensei.events.frames import categories, known

_TEXTS = ("user_id", "kind", "model", "version", "bundle", "arm", "fallback", "answer")
_ANSWERS = pa.schema(
    {
        "prediction_id": pa.string(),
        **dict.fromkeys(_TEXTS, pa.dictionary(pa.int32(), pa.string())),
        "topic_id": pa.int64(),
        "time": pa.int64(),
    }
)
_EVENTS = pa.schema(
    {
        "arrival": pa.int64(),
        "user_id": pa.string(),
        "kind": pa.string(),
        "topic": pa.int64(),
        "score": pa.float64(),
        "level": pa.string(),
        "time": pa.int64(),
        "metadata": pa.string(),
    }
)
TOLD_ARM = "outside"
"""Arm of answers that were logged together with their acceptance; they are never open."""

_RESPONDED = f"CASE WHEN interaction_type IN {RESPONSE_KINDS} THEN metadata END"
_COLUMNS = (
    f"arrival, v.user_id, interaction_type, topic_id, score, difficulty, timestamp, {_RESPONDED}"
)


_LEARNER = PRESENT_ID.format("predictions.user_id")
_IN_SEVERAL_ARMS = (
    f"SELECT {_LEARNER} FROM predictions WHERE arm <> '{TOLD_ARM}' AND {_LEARNER} IN "  # noqa: S608
    "(SELECT into_user_id FROM merged_learners) GROUP BY 1 HAVING COUNT(DISTINCT arm) > 1"
)
"""Merged learners with answers of more than one arm; acceptances told from outside have no arm."""


def read_answers(engine: Engine, start_us: int, end_us: int) -> pd.DataFrame:
    """Read the recommendations and difficulties answered in [start, end), ordered by time.

    The answers of a merged learner under former ids have the present id. If arms differ between
    these ids, the learner saw both sides of every comparison, and all their answers are left out.

    Args:
        engine: the log's database.
        start_us: start, included; microseconds since 1970.
        end_us: end, excluded.

    Returns:
        One row per answer; `time` (us), `answer` as JSON text; text columns as categories.

    Raises:
        StorageUnavailable: the database cannot be read.
    """
    answers = bulk_read.fetch(
        engine,
        f"SELECT prediction_id, {_LEARNER}, kind, model, version, bundle, arm, fallback, "  # noqa: S608
        f"CAST(answer AS TEXT), topic_id, created_at FROM predictions "
        f"WHERE {_within(start_us, end_us)} AND kind IN ('recommendation', 'difficulty') "
        f"AND {_LEARNER} NOT IN ({_IN_SEVERAL_ARMS})",
        _ANSWERS,
    ).unify_dictionaries()
    answers = answers.sort_by([("time", "ascending"), ("prediction_id", "ascending")])
    columns = {name: categories(answers[name]) for name in _TEXTS}
    return pd.DataFrame(
        {
            "prediction_id": answers["prediction_id"].to_numpy(),
            **columns,
            "topic_id": pc.fill_null(answers["topic_id"], -1).to_numpy(),
            "time": answers["time"].to_numpy(),
        }
    )


def read_events(engine: Engine, users: pd.Index, start_us: int, end_us: int) -> pd.DataFrame:
    """Read the valid events in [start, end) of learners with answers, and the last one before.

    Args:
        engine: the log's database.
        users: names of these learners; an event's `learner` is an index into them.
        start_us: start, included; microseconds since 1970.
        end_us: end, excluded.

    Returns:
        Ordered by time, then arrival: `learner`, `kind` (code), `topic`, `score`, `level` (code,
        -1 if absent), `time` (us), `metadata` (JSON text of responses, else None).

    Raises:
        StorageUnavailable: the database cannot be read.
    """
    learners = (
        f"(SELECT DISTINCT {_LEARNER} AS user_id FROM predictions "  # noqa: S608
        f"WHERE {_within(start_us, end_us)})"
    )
    before = (
        "(SELECT w.timestamp FROM valid_interactions w WHERE w.user_id = asked.user_id "  # noqa: S608
        f"AND w.timestamp < {int(start_us)} AND w.interaction_type IN {LEARNING_KINDS} "
        "ORDER BY w.timestamp DESC LIMIT 1)"
    )
    queries = (
        f"SELECT {_COLUMNS} FROM valid_interactions v WHERE timestamp >= {int(start_us)} "  # noqa: S608
        f"AND timestamp < {int(end_us)} AND v.user_id IN {learners}",
        f"SELECT {_COLUMNS} FROM {learners} asked JOIN valid_interactions v "  # noqa: S608
        f"ON v.user_id = asked.user_id AND v.timestamp = {before} "
        f"WHERE v.interaction_type IN {LEARNING_KINDS}",
    )
    parts = [bulk_read.fetch(engine, query, _EVENTS) for query in queries]
    events = pa.concat_tables(parts).sort_by([("time", "ascending"), ("arrival", "ascending")])
    learner = pc.index_in(events["user_id"], value_set=pa.array(users, pa.string()))
    frame = pd.DataFrame(
        {
            "learner": pc.fill_null(learner, -1).to_numpy().astype(np.int64),
            "kind": known(events["kind"], KINDS).codes,
            "topic": events["topic"].to_numpy(),
            "score": events["score"].to_numpy(),
            "level": known(events["level"], LEVELS).codes,
            "time": events["time"].to_numpy(),
            "metadata": events["metadata"].to_numpy(),
        }
    )
    return frame[frame["learner"] >= 0].reset_index(drop=True)


def count_topics(engine: Engine) -> int:
    """Count the topics that the catalogue offers."""
    query = "SELECT COUNT(*) FROM topics WHERE NOT retired AND replaced_by IS NULL"
    counted = bulk_read.fetch(engine, query, pa.schema({"n": pa.int64()}))
    return int(counted["n"][0].as_py())


def _within(start_us: int, end_us: int) -> str:
    return f"created_at >= {int(start_us)} AND created_at < {int(end_us)}"
