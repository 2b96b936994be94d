"""The project's errors: what was expected, what came, and what to do next."""

from collections.abc import Mapping, Sequence
from typing import Any


class SenseiError(Exception):
    """Base of every error a person is meant to read: one sentence with the next step.

    Attributes:
        details: what a program that reads the error also wants, as JSON has it.
    """

    details: Mapping[str, Any] = {}


class InvalidInput(SenseiError):
    """A row, file, option or request does not meet the data contract."""


class InvalidBatch(InvalidInput):
    """Events of a batch break rules, so none was written.

    Args:
        items: place in the batch -> the sentence about the event there.
    """

    def __init__(self, items: Mapping[int, str]) -> None:
        super().__init__(next(iter(items.values())))
        self.items = dict(items)
        listed = [{"index": place, "error": said} for place, said in self.items.items()]
        self.details = {"items": listed}


class ConflictingEvent(SenseiError):
    """The same (user_id, event_id) was appended before with another payload."""


class LearnerErased(SenseiError):
    """Everything about this learner was erased; nothing may be written any more."""


class DataRefused(SenseiError):
    """Validation stopped a run: too many bad rows, or a broken column."""


class NotEnoughData(SenseiError):
    """The log is too small or too one-sided to train or to evaluate."""


class IncompatibleBundle(SenseiError):
    """A bundle's format, fold version or digest does not fit this software."""


class ParityFailed(SenseiError):
    """The exported model does not answer as the Keras model it was made from."""


class PromotionRefused(SenseiError):
    """The champion changed since the decision to promote was made."""


class StorageUnavailable(SenseiError):
    """The database or SENSEI_HOME cannot be read or written."""


class SchemaMismatch(StorageUnavailable):
    """The database is at another migration than this software; the sentence shows no address."""


class NotRecorded(StorageUnavailable):
    """Events were not acknowledged; sent again with these ids, they are recorded once.

    Args:
        sentence: what failed.
        event_ids: of the events, those that we gave them too.
    """

    def __init__(self, sentence: str, event_ids: Sequence[str]) -> None:
        super().__init__(sentence)
        self.details = {"event_ids": list(event_ids)}


class NothingServed(SenseiError):
    """A model was asked for while none was promoted."""
