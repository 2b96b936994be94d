from datetime import UTC, datetime, timedelta

from sensei.events.log import Log
from training.data.collection import collect_training_data

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


def test_the_window_ends_after_the_last_event_is_half_open_and_leaves_out_bad_rows(
    log: Log,
) -> None:
    assert len(collect_training_data(log, 30)) == 0
    ages = {"last": 0, "inside": 29, "bad": 1, "outside": 31}
    log.append(
        {
            "event_id": name,
            "user_id": "mia",
            "interaction_type": "quiz_complete",
            "topic_id": 1,
            "score": 1.0,
            "timestamp": NOON - timedelta(days=age),
        }
        for name, age in ages.items()
    )
    frame = log.read()
    (bad,) = frame.interaction_id[frame.event_id == "bad"]
    log.quarantine_interactions({int(bad): "planted"}, "a test")
    assert set(collect_training_data(log, 30).event_id) == {"last", "inside"}
    assert set(collect_training_data(log, 30, NOON).event_id) == {"inside"}
    assert set(collect_training_data(log, 32).event_id) == {"last", "inside", "outside"}
