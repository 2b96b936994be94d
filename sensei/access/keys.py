"""Keys of the service: what they are, and how one that a caller presents is compared.

A key reads `sensei_<id>_<secret>`: the id names it in lists and logs, the secret is 256 random
bits. At rest there is only its SHA-256: a slow hash protects guessable passwords, and 256 random
bits cannot be guessed. `sensei.access.key_store` keeps them.
"""

import hmac
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

OPEN, PLATFORM, OPERATOR = "open", "platform", "operator"
ROLES = (PLATFORM, OPERATOR)
"""Whom a key is for: the platform's back end, or the people who run the service."""

PREFIX = "sensei"


@dataclass(frozen=True)
class Key:
    """A key as it is stored.

    Attributes:
        key_id: names it.
        role: one of `ROLES`.
        digest: SHA-256 of the whole key, in hex.
        created_at: when it was made.
        revoked_at: since when it opens nothing; None while it does.
    """

    key_id: str
    role: str
    digest: str
    created_at: datetime
    revoked_at: datetime | None = None

    @property
    def is_valid(self) -> bool:
        """Whether it was not revoked."""
        return self.revoked_at is None

    def fits(self, presented: bytes) -> bool:
        """Whether this is the key that a caller presents, compared in constant time."""
        return hmac.compare_digest(sha256(presented).hexdigest(), self.digest)


def id_of(presented: bytes) -> str:
    """The id inside a presented key; of anything else, text that names no key."""
    _, _, rest = presented.partition(b"_")
    return rest.partition(b"_")[0].decode("ascii", "replace")
