import logging
from datetime import timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from expectations.outcome import RunBaseline
from expectations.validate import validate_features, validate_interactions
from sensei.contracts import DIFFICULTY_INPUTS, KINDS, LEVELS, RECOMMENDATION_INPUTS
from sensei.errors import DataRefused
from sensei.events import frames
from sensei.events.refusals import Refusals

TOPICS = range(1, 6)


@pytest.fixture
def validate(as_of, tmp_path):
    def run(frame, known_topics=TOPICS, previous=None, kept=20):
        return validate_interactions(frame, known_topics, previous, as_of, tmp_path, kept)

    return run


def with_value(frame, column, value, row=3):
    """Plant one value, whatever the column's type allows."""
    frame = frame.copy()
    if isinstance(frame[column].dtype, pd.CategoricalDtype) and value is not None:
        frame[column] = frame[column].cat.add_categories([value])
    frame.loc[row, column] = value
    return frame


def test_good_rows_pass_unchanged_and_without_a_copy(interactions, validate):
    frame = interactions(500)
    before = frame.copy(deep=True)
    validated = validate(frame)
    assert validated.good is frame
    pd.testing.assert_frame_equal(frame, before)
    assert validated.bad.empty
    assert validated.warnings == ()
    assert validated.statistics == RunBaseline(500, frame["timestamp"].max().to_pydatetime())


BAD_VALUES = [
    ("user_id", None, "user_id: expected a learner's name, got nothing; send one"),
    ("user_id", "", "user_id: expected a learner's name, got an empty one; send one"),
    ("event_id", None, "event_id: expected an identifier of the event, got nothing; send one"),
    ("interaction_type", None, "interaction_type: expected a kind of event, got nothing"),
    ("interaction_type", "dance", f"expected one of {', '.join(KINDS)}, got 'dance'"),
    ("topic_id", -1, "topic_id: expected a whole number of at least 0, got -1"),
    ("score", 85.0, "score: expected a fraction in [0, 1], got 85; send 0.85"),
    ("score", np.inf, "score: expected a fraction in [0, 1], got inf; send a fraction"),
    ("duration_seconds", -5.0, "duration_seconds: expected seconds in [0, 31622400], got -5"),
    ("timestamp", pd.NaT, "timestamp: expected a time, got nothing"),
    ("timestamp", pd.Timestamp("1969-12-31", tz="UTC"), "got 1969-12-31T00:00:00+00:00"),
    ("difficulty", "brutal", "difficulty: expected one of easy, medium, hard, got 'brutal'"),
]


@pytest.fixture(scope="module")
def all_bad_values(interactions, as_of, tmp_path_factory):
    """Row k of fifty holds the k-th bad value."""
    frame = interactions(50)
    for row, (column, value, _) in enumerate(BAD_VALUES):
        frame = with_value(frame, column, value, row)
    return validate_interactions(frame, TOPICS, None, as_of, tmp_path_factory.mktemp("docs"))


@pytest.mark.parametrize("row", range(len(BAD_VALUES)))
def test_bad_value_is_named_with_its_row_and_key(all_bad_values, row):
    column, _, reason = BAD_VALUES[row]
    found = all_bad_values.bad.set_index("row").loc[row]
    assert found["column"] == column
    assert found["interaction_id"] == row + 1
    assert reason in found["reason"]


def test_bad_rows_and_only_they_are_left_out(all_bad_values):
    good = all_bad_values.good
    assert list(good["interaction_id"]) == list(range(len(BAD_VALUES) + 1, 51))
    assert list(good["interaction_type"].cat.categories) == list(KINDS)
    assert list(good["difficulty"].cat.categories) == list(LEVELS)


@pytest.mark.parametrize(("minutes", "bad"), [(5, 0), (6, 1)])
def test_event_may_lie_five_minutes_in_the_future(interactions, validate, as_of, minutes, bad):
    moment = pd.Timestamp(as_of + timedelta(minutes=minutes))
    assert len(validate(with_value(interactions(20), "timestamp", moment)).bad) == bad


def test_the_first_of_equal_events_is_kept(interactions, validate):
    frame = interactions(50)
    frame.loc[[7, 14], ["user_id", "event_id"]] = frame.loc[0, ["user_id", "event_id"]].to_list()
    validated = validate(frame)
    assert list(validated.bad["row"]) == [7, 14]
    assert "a unique id per learner" in validated.bad["reason"][0]


def test_two_learners_may_send_the_same_event_id(interactions, validate):
    frame = interactions(7)
    frame["event_id"] = "1"
    assert validate(frame).bad.empty


def test_row_numbers_are_positions_whatever_the_index(interactions, validate):
    frame = with_value(interactions(20), "score", 2.0, row=5)
    frame.index = frame.index[::-1]
    assert list(validate(frame).bad["row"]) == [5]


def test_order_of_rows_changes_no_verdict(interactions, validate):
    frame = with_value(interactions(60), "score", 40.0)
    frame = with_value(frame, "duration_seconds", -1.0, row=9)
    shuffled = frame.sample(frac=1, random_state=1)
    keys = [sorted(validate(f).bad["interaction_id"]) for f in (frame, shuffled)]
    assert keys[0] == keys[1] == [4, 10]


def test_missing_column_is_refused_by_name(interactions, validate):
    with pytest.raises(DataRefused, match=r"none named score, timestamp;.*--map theirs=ours"):
        validate(interactions(20).drop(columns=["score", "timestamp"]))


@pytest.mark.parametrize(
    ("column", "cast"),
    [
        ("score", str),
        ("topic_id", float),
        ("user_id", object),
        ("timestamp", "datetime64[us]"),
    ],
)
def test_column_of_another_type_is_refused(interactions, validate, column, cast):
    frame = interactions(20)
    values = frame[column]
    frame[column] = values.dt.tz_localize(None) if column == "timestamp" else values.astype(cast)
    with pytest.raises(DataRefused, match=f"{column}: expected .* of type"):
        validate(frame)


@pytest.mark.parametrize("column", ["user_id", "interaction_type", "timestamp", "event_id"])
def test_required_column_without_any_value_is_refused(interactions, validate, column):
    frame = interactions(20)
    frame[column] = pd.Series([None] * 20).astype(frame[column].dtype)
    with pytest.raises(DataRefused, match=f"{column}: expected .* no value in any row"):
        validate(frame)


@pytest.mark.parametrize("column", ["score", "duration_seconds", "difficulty"])
def test_optional_column_may_be_empty(interactions, validate, column):
    frame = interactions(20)
    frame[column] = pd.Series([None] * 20).astype(frame[column].dtype)
    assert validate(frame).bad.empty


def test_empty_log_passes_with_nothing(interactions, validate):
    validated = validate(interactions(20)[:0])
    assert len(validated.good) == len(validated.bad) == 0
    assert validated.statistics == RunBaseline(0, None)


def test_frame_made_from_arrow_fits_the_suite(validate):
    table = pa.table(
        {
            "id": [1, 2],
            "event_id": ["a", "b"],
            "user_id": ["søren", "李"],
            "interaction_type": ["quiz_complete", "video_view"],
            "topic_id": [1, 2],
            "score": pa.array([0.5, None], pa.float64()),
            "duration_seconds": pa.array([None, None], pa.int64()),
            "timestamp": pa.array([0, 10**15], pa.timestamp("us", "UTC")),
            "metadata": ['{"difficulty":"easy"}', None],
        }
    )
    assert validate(frames.from_arrow(table)).bad.empty


def test_unknown_topics_are_a_warning_with_their_share(interactions, validate):
    validated = validate(with_value(interactions(50), "topic_id", 777))
    assert validated.bad.empty
    (warning,) = validated.warnings
    assert "2.0 % of rows" in warning
    assert "777" in warning


@pytest.mark.parametrize("nothing", [None, ()])
def test_log_without_a_catalogue_is_told_once(interactions, validate, nothing):
    (warning,) = validate(interactions(50), known_topics=nothing).warnings
    assert "no catalogue" in warning


def test_collapsed_volume_and_stale_events_are_warnings(interactions, validate, as_of):
    validated = validate(interactions(50), previous=RunBaseline(102, as_of))
    volume, freshness = validated.warnings
    assert volume.startswith("volume: expected at least 51 rows")
    assert freshness.startswith("freshness: ")


def test_future_event_does_not_hide_a_stale_log(interactions, validate, as_of):
    frame = with_value(interactions(50), "timestamp", pd.Timestamp("2030-01-01", tz="UTC"))
    (warning,) = validate(frame, previous=RunBaseline(50, as_of)).warnings
    assert warning.startswith("freshness: ")


def test_same_log_as_before_is_no_warning(interactions, validate):
    frame = interactions(50)
    assert validate(frame, previous=validate(frame).statistics).warnings == ()


def test_page_names_no_learner_and_no_event(interactions, validate):
    frame = interactions(50)
    frame.loc[9, ["user_id", "event_id"]] = frame.loc[2, ["user_id", "event_id"]].to_list()
    frame = with_value(frame, "user_id", "")
    page = validate(with_value(frame, "score", 85.0, row=5), known_topics=[1]).docs.read_text()
    assert "3 of them quarantined" in page
    assert "canary" not in page


def test_page_counts_what_was_refused_at_import_and_over_http(interactions, as_of, tmp_path):
    arrivals = Refusals(stored=10, http=20, imported=70)
    validated = validate_interactions(
        interactions(10), {1, 2, 3, 4, 5}, None, as_of, tmp_path, refusals=arrivals
    )
    assert validated.refusals == arrivals
    page = validated.docs.read_text()
    assert "90 of 100 rows (90.0%) were refused: 20 over HTTP, 70 at import" in page


def test_page_reads_offline(interactions, validate):
    page = validate(interactions(20)).docs.read_text()
    assert "src=" not in page
    assert "<link" not in page
    assert "//" not in page.replace("</", "")


def test_refusal_leaves_its_page(interactions, validate, tmp_path):
    with pytest.raises(DataRefused, match=str(tmp_path)):
        validate(interactions(20).drop(columns="score"))
    (page,) = tmp_path.glob("*.html")
    assert "none named score" in page.read_text()


def test_only_the_newest_pages_are_kept(interactions, as_of, tmp_path):
    other = tmp_path / "features-20200101T000000.html"
    other.touch()
    pages = [
        validate_interactions(
            interactions(5), TOPICS, None, as_of + timedelta(days=day), tmp_path, kept=2
        ).docs
        for day in range(3)
    ]
    assert set(tmp_path.glob("*.html")) == {*pages[1:], other}


def test_validation_is_quiet(interactions, validate, capfd, caplog):
    with caplog.at_level(logging.WARNING):
        validate(with_value(interactions(20), "score", 85.0))
    assert capfd.readouterr() == ("", "")
    assert not caplog.records


def test_nothing_is_left_outside_the_given_folder(interactions, validate, tmp_path, monkeypatch):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(elsewhere))
    monkeypatch.chdir(elsewhere)
    validate(with_value(interactions(20), "score", 85.0))
    assert not list(elsewhere.iterdir())


def inputs(n: int = 100) -> dict[str, np.ndarray]:
    r = np.random.default_rng(0)
    return {
        "recommendation": r.random((n, 20), dtype=np.float32),
        "difficulty": r.random((n // 2, 4), dtype=np.float32),
    }


def test_inputs_in_range_pass_up_to_both_ends(as_of, tmp_path):
    matrices = inputs()
    for name, given in {
        "recommendation": RECOMMENDATION_INPUTS,
        "difficulty": DIFFICULTY_INPUTS,
    }.items():
        matrices[name][0] = [i.low for i in given]
        matrices[name][1] = [i.high for i in given]
    assert "20" in validate_features(matrices, as_of, tmp_path).read_text()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1.5])
def test_one_input_that_is_no_number_or_out_of_range_is_refused(as_of, tmp_path, value):
    matrices = inputs()
    matrices["recommendation"][42, 8] = value
    with pytest.raises(DataRefused, match=r"mean_score: expected .*1\.0% of 100 rows.*features/"):
        validate_features(matrices, as_of, tmp_path)


def test_model_without_rows_is_left_out(as_of, tmp_path):
    matrices = inputs() | {"difficulty": np.empty((0, 4), np.float32)}
    assert validate_features(matrices, as_of, tmp_path).exists()
