"""Learners whose ids look the same; only logs of older releases have them.

New ids have one normal form (`sensei.events.rules.check_user_id`). Older releases stored an id as
it was sent, so one person may be several learners. Nothing is merged without an order to do so.
"""

from collections import defaultdict
from collections.abc import Sequence

from sqlalchemy import Engine, select

from sensei.events import rules
from sensei.storage import database
from sensei.storage.tables import LearnerRow, MergedLearner

_UNMERGED = (
    select(LearnerRow.user_id)
    .where(LearnerRow.user_id.not_in(select(MergedLearner.user_id)))
    .order_by(LearnerRow.user_id)
)


def look_alikes(engine: Engine, user_id: str) -> list[str]:
    """Return the ids of other stored learners that look like an id, ascending.

    Raises:
        StorageUnavailable: the database cannot be read.
    """
    seen = rules.appearance(user_id)
    with database.read_connection(engine) as connection:
        names = connection.execute(_UNMERGED).scalars().all()
    return sorted(name for name in names if name != user_id and rules.appearance(name) == seen)


def groups(engine: Engine) -> Sequence[Sequence[str]]:
    """Return the groups of learners whose ids look the same, or look like an id that is new.

    A group of one is an id that is not in its normal form: events that are sent now under any
    spelling of it arrive at another learner.

    Raises:
        StorageUnavailable: the database cannot be read.
    """
    names_of: dict[str, list[str]] = defaultdict(list)
    with database.read_connection(engine) as connection:
        for name in connection.execute(_UNMERGED).scalars():
            names_of[rules.appearance(name)].append(name)
    return [names for normal, names in names_of.items() if names != [normal]]


def stored_id(engine: Engine, user_id: str) -> str:
    """Return an id as it is stored: unchanged if a learner has it so, else in its normal form.

    Raises:
        InvalidInput: no learner has it, and it breaks the rule of ids.
        StorageUnavailable: the database cannot be read.
    """
    with database.read_connection(engine) as connection:
        query = select(LearnerRow.user_id).where(LearnerRow.user_id == user_id)
        stored = connection.execute(query).scalar()
    return user_id if stored is not None else rules.check_user_id("user_id", user_id)
