"""The project's errors: the expected value, the value received and the next step."""

from collections.abc import Mapping, Sequence
from typing import Any


class SenseiError(Exception):
    """Base of every error meant for a person: one sentence with the next step.

    Attributes:
        details: additional JSON values for a program that reads the error.
    """

    details: Mapping[str, Any] = {}


class InvalidInput(SenseiError):
    """A row, file, option or request that does not meet the data contract."""


class InvalidBatch(InvalidInput):
    """Events of a batch that break rules; none of the batch was written.

    Args:
        items: index in the batch -> the sentence about the event there.
    """

    def __init__(self, items: Mapping[int, str]) -> None:
        super().__init__(next(iter(items.values())))
        self.items = dict(items)
        listed = [{"index": index, "error": message} for index, message in self.items.items()]
        self.details = {"items": listed}


class ConflictingEvent(SenseiError):
    """An event whose (user_id, event_id) was appended before with another payload."""


class LearnerErased(SenseiError):
    """A learner whose data was erased; nothing about them may be written again."""


class DataRefused(SenseiError):
    """Validation that stopped a run: too many bad rows, or a broken column."""


class NotEnoughData(SenseiError):
    """A log that is too small or too one-sided for training or evaluation."""


class IncompatibleBundle(SenseiError):
    """A bundle whose format, fold version or digest does not fit this software."""


class ParityFailed(SenseiError):
    """An exported model whose outputs differ from those of its Keras source model."""


class PromotionRefused(SenseiError):
    """A promotion refused because the champion changed after the decision."""


class StorageUnavailable(SenseiError):
    """A database or SENSEI_HOME that cannot be read or written."""


class SchemaMismatch(StorageUnavailable):
    """A database at another migration than this software; the message shows no address."""


class NotRecorded(StorageUnavailable):
    """Events that were not acknowledged; sending them again with the same ids records them once.

    Args:
        sentence: description of the failure.
        event_ids: ids of the events, including those that the service assigned.
    """

    def __init__(self, sentence: str, event_ids: Sequence[str]) -> None:
        super().__init__(sentence)
        self.details = {"event_ids": list(event_ids)}


class NothingServed(SenseiError):
    """A request for a model while none is promoted."""
