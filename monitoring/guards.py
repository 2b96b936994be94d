"""Guards of the feed and of scheduled runs: pure decisions, none of which starts a training.

Four questions: do as many events arrive as usual, are the newest ones recent, how many rows are
refused, and did each scheduled deployment succeed recently?
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import pairwise
from statistics import median

from sensei.events.refusals import Refusals

WEEK = 7
USUAL_WEEKS = 8
"""Number of earlier weeks with events whose median per weekday is the usual volume.

A median of eight ignores an exam week and a holiday, and follows a new cohort within five weeks.
"""

FEWEST_WEEKS = 3
"""Minimum number of earlier weeks with events; the median of three ignores an odd one."""

JUDGED_DAYS = 3
"""Minimum number of days with events that are judged; one or two may be public holidays."""

FEWEST_EXPECTED = 30
"""Minimum usual events of the judged days; chance never explains a quarter of them (p < 1e-6)."""

GAPS = 40
"""Number of latest gaps between days with events, about eight school weeks."""

REPEATED = 3
"""Number of gaps that a usual gap is not longer than: a holiday or two do not make it longer."""

ARCHIVE = timedelta(days=30)
"""Age of the newest event at its arrival from which a log is an archive, which no feed refreshes.
"""

VOLUME, FRESHNESS, REFUSED = "volume", "freshness", "refused"
NIGHTLY, MONITOR = "nightly", "monitor"

EVENTS = {
    VOLUME: "sensei.volume.low",
    FRESHNESS: "sensei.events.stale",
    REFUSED: "sensei.rows.refused",
    NIGHTLY: "sensei.run.overdue",
    MONITOR: "sensei.run.overdue",
}
"""Guard -> name of its event; the deployment `on-drift` waits for none of them."""

OF_DATA = frozenset({VOLUME, FRESHNESS, REFUSED})
"""Guards that fire if events are missing; then drift and quality are no reason to train."""

_FIXES = {
    VOLUME: "check that the feed sends all events; until then no drift starts a training",
    FRESHNESS: "check that events still arrive: the platform's calls, or the last `sensei import`",
    REFUSED: "correct the source and send or import the rows again",
    NIGHTLY: "`sensei train`, and check the worker and the last runs of `nightly`",
    MONITOR: "`sensei monitor`, and check the worker and the last runs of `monitor`",
}


@dataclass(frozen=True)
class GuardVerdict:
    """Verdict of one guard.

    Attributes:
        guard: name of the guard.
        fires: True if a person must act.
        sentence: the measurement in words.
        value: the measurement: a share of the usual volume or of all rows, or an age in seconds;
            None if there is nothing to judge.
        limit: value below which `volume` fires, above which all others do; None likewise.
    """

    guard: str
    fires: bool
    sentence: str
    value: float | None = None
    limit: float | None = None

    @property
    def fix(self) -> str:
        """The next step; empty if the guard does not fire."""
        return _FIXES[self.guard] if self.fires else ""


def judge_volume(daily: Mapping[int, int], alarm_share: float) -> GuardVerdict:
    """Compare the events of the last days with those usual for their weekdays.

    The last week before the newest event's day is judged; silence after it is not low volume but
    lack of freshness. Usual is the median per weekday of the `USUAL_WEEKS` weeks before that have
    events, so holidays of any length are skipped. Days without events are skipped too; a weekday
    that usually has none is not expected to have any.

    Args:
        daily: UTC day since 1970 -> number of events, at least one.
        alarm_share: share of the usual events, in [0, 1], below which the guard fires.
    """
    if not daily:
        return GuardVerdict(VOLUME, fires=False, sentence="no event yet")
    newest = max(daily)
    usual = _usual_week(daily, newest - WEEK)
    if usual is None:
        said = f"not judged before {FEWEST_WEEKS} earlier weeks have events"
        return GuardVerdict(VOLUME, fires=False, sentence=said)
    expected_days = [day for day in range(newest - 1, newest - 1 - WEEK, -1) if usual[day % WEEK]]
    fewest_days = min(JUDGED_DAYS, len(expected_days))
    judged: list[int] = []
    expected = 0.0
    for day in expected_days:
        if day in daily and (len(judged) < fewest_days or expected < FEWEST_EXPECTED):
            judged.append(day)
            expected += usual[day % WEEK]
    if not judged or len(judged) < fewest_days or expected < FEWEST_EXPECTED:
        said = "not judged: too few events or days with events in the last week"
        return GuardVerdict(VOLUME, fires=False, sentence=said)
    events = sum(daily[day] for day in judged)
    share = events / expected
    sentence = (
        f"{events:,} events on {_days(judged)}, {share:.0%} of the {expected:,.0f} usual for "
        f"these weekdays"
    )
    return GuardVerdict(VOLUME, share < alarm_share, sentence, share, alarm_share)


def _usual_week(daily: Mapping[int, int], end: int) -> dict[int, float] | None:
    """Return the usual events by day modulo 7, from weeks before a day; None if too few."""
    first = min(daily)
    weeks: list[range] = []
    while end - WEEK >= first and len(weeks) < USUAL_WEEKS:
        week = range(end - WEEK, end)
        if any(day in daily for day in week):
            weeks.append(week)
        end -= WEEK
    if len(weeks) < FEWEST_WEEKS:
        return None
    return {
        weekday: median(
            daily.get(day, 0) for week in weeks for day in week if day % WEEK == weekday
        )
        for weekday in range(WEEK)
    }


def _days(judged: Collection[int]) -> str:
    first, last = (date(1970, 1, 1) + timedelta(days=day) for day in (min(judged), max(judged)))
    return f"{first}" if first == last else f"{len(judged)} days from {first} to {last}"


def judge_freshness(
    newest: datetime | None,
    last_received: datetime | None,
    days: Collection[int],
    now: datetime,
    max_silence_days: float,
) -> GuardVerdict:
    """Compare the age of the newest event with the gaps that the log usually has.

    The guard fires one day after the usual gap, at the earliest after `max_silence_days`. The
    usual gap is the third longest of the last `GAPS` between days with events: weekends count,
    single holidays do not. An archive, imported when its newest event was old, is not judged.

    Args:
        newest: time of the newest event; None if there is none.
        last_received: time at which the last row arrived.
        days: UTC days since 1970 with events; a few have no rhythm and are not judged.
        now: current time.
        max_silence_days: days without an event that any log may have.
    """
    if newest is None or last_received is None:
        return GuardVerdict(FRESHNESS, fires=False, sentence="no event yet")
    age = now - newest
    if last_received - newest > ARCHIVE:
        said = f"not judged: an archive, whose newest event of {newest:%Y-%m-%d} arrived later"
        return GuardVerdict(FRESHNESS, fires=False, sentence=said)
    if len(days) <= REPEATED:
        said = f"not judged before events on {REPEATED + 1} days"
        return GuardVerdict(FRESHNESS, fires=False, sentence=said)
    limit = timedelta(days=max(max_silence_days, usual_gap(days) + 1))
    sentence = f"the newest event is {in_words(age)} old, expected at most {in_words(limit)}"
    seconds = age.total_seconds()
    return GuardVerdict(FRESHNESS, age > limit, sentence, seconds, limit.total_seconds())


def usual_gap(days: Collection[int]) -> int:
    """Return the usual longest number of days from one day with events to the next.

    A log of less than three weeks has not shown three weekends: its usual gap is a week.
    """
    if max(days) - min(days) < REPEATED * WEEK:
        return WEEK
    latest = sorted(days)[-GAPS - 1 :]
    gaps = sorted(later - day for day, later in pairwise(latest))
    return gaps[-REPEATED:][0]


def judge_refusals(refusals: Refusals, max_share: float) -> GuardVerdict:
    """Compare the share of rows refused at any door with the maximum share.

    Args:
        refusals: rows of the last days of arrivals.
        max_share: share in [0, 1] above which the guard fires.
    """
    if not refusals.rows:
        return GuardVerdict(REFUSED, fires=False, sentence="no row arrived yet")
    sentence = refusals.sentence()
    return GuardVerdict(REFUSED, refusals.exceed(max_share), sentence, refusals.share, max_share)


def judge_run(
    deployment: str,
    last_good: datetime | None,
    in_use_since: datetime | None,
    now: datetime,
    max_age_days: float,
) -> GuardVerdict:
    """Compare the age of a deployment's last good run with the maximum age.

    Args:
        deployment: `NIGHTLY` or `MONITOR`.
        last_good: time of the last good run; None if there was none.
        in_use_since: time of the first promotion, from which runs are expected; None before it.
        now: current time.
        max_age_days: age in days above which the guard fires.
    """
    since = last_good or in_use_since
    if since is None:
        return GuardVerdict(deployment, fires=False, sentence="no good run yet, none expected yet")
    age, limit = now - since, timedelta(days=max_age_days)
    sentence = (
        f"the last good run was {in_words(age)} ago"
        if last_good
        else f"no good run since the first promotion {in_words(age)} ago"
    )
    sentence += f", expected at most {in_words(limit)}"
    return GuardVerdict(
        deployment, age > limit, sentence, age.total_seconds(), limit.total_seconds()
    )


def in_words(length: timedelta) -> str:
    """Describe a length of time: `3 days`, `5 h`, `20 min`."""
    seconds = max(length.total_seconds(), 0)
    for unit, size in (("days", 86_400), ("h", 3_600)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 60:.0f} min"
