"""When learners act: days between sessions, hours of the day, pauses, and leaving for good.

Sources: Barabási 2005 and Goh & Barabási 2008 (heavy-tailed gaps, bursts); Malmgren et al. 2008
(daily and weekly cycles); Kizilcec et al. 2013 and Halawa et al. 2014 (drop-out: early and after
failure).
"""

import numpy as np

from sensei.simulation.draws import Bools, Draws, Floats, Ints, sigmoid
from sensei.simulation.traits import Learners

DAY = 86400.0
_THURSDAY = 3  # 1970-01-01; Monday is 0


def next_session(
    now: Floats, who: Ints, session: Ints, learners: Learners, draws: Draws, first: bool = False
) -> Floats:
    """Moments (n,) at which the next sessions begin, in seconds since 1970.

    Gaps in days follow a power law; weekends are partly skipped; hours gather around the
    learner's own. A session begins at least half an hour after `now`.
    """
    luck = draws.uniform("gap", who, session)
    gap = np.zeros(len(who)) if first else np.floor(learners.pace[who] * luck ** (-1 / 1.6))
    day = np.floor(now / DAY) + np.minimum(gap, 28)
    weekday = (day + _THURSDAY) % 7
    skips = (weekday >= 5) & (draws.uniform("weekend", who, session) < learners.weekday[who])
    day = np.where(skips, day + 7 - weekday, day)
    hour = learners.hour[who] + 1.6 * draws.normal("start", who, session)
    start = day * DAY + np.floor(np.clip(hour, 6.0, 24.5) * 3600)
    late = np.maximum(0, np.ceil((now + 1800 - start) / DAY))
    return np.asarray(start + late * DAY)


def pause(who: Ints, step: Ints, draws: Draws) -> Floats:
    """Seconds (n,) between two activities of a session: half a minute and a log-normal rest."""
    rest = 45 * np.exp(0.9 * draws.normal("pause", who, step))
    return np.asarray(np.floor(30 + rest))


def session_ends(events: Ints, failed: Bools, stamina: Floats) -> Floats:
    """Probability (n,) that a session ends after this event: tiring, and failing, end it."""
    return sigmoid(-2.0 + 0.1 * (events - 4) + 0.4 * failed - stamina)


def leaving(sessions: Ints, failed_share: Floats, hazard: Floats) -> Floats:
    """Probability (n,) to leave for ever after a session: high at first, and after failure."""
    return sigmoid(hazard + 1.6 * np.exp(-sessions / 2.0) + 1.2 * (failed_share - 0.3))


def duration(
    kind: Ints, level: Ints, minutes: Floats, who: Ints, step: Ints, draws: Draws
) -> Floats:
    """Whole seconds (n,) of an activity: log-normal around a share of the topic's minutes.

    Source: van der Linden 2006 (log-normal response times).
    """
    share = np.array([0.12, 0.4, 0.25, 0.2, 0.3])[kind]
    slower = np.array([1.0, 0.8, 1.0, 1.3])[level + 1]
    luck = draws.normal("duration", who, step)
    seconds = 60 * minutes * share * slower * np.exp(0.45 * luck)
    return np.asarray(np.floor(np.clip(seconds, 15, 4 * 3600)))
