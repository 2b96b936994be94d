"""API keys of the service: their format, and the comparison with a presented key.

A key has the form `sensei_<id>_<secret>`: the id names it in lists and logs, the secret is 256
random bits. Only the SHA-256 of a key is stored. Slow hashes protect guessable passwords, and 256
random bits cannot be guessed. `sensei.access.key_store` stores the keys.
"""

import hmac
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

OPEN, PLATFORM, OPERATOR = "open", "platform", "operator"
ROLES = (PLATFORM, OPERATOR)
"""Roles of a key: the platform's back end, or the operators who run the service."""

PREFIX = "sensei"


@dataclass(frozen=True)
class Key:
    """Stored form of a key.

    Attributes:
        key_id: id that names the key in lists and logs.
        role: one of `ROLES`.
        digest: SHA-256 of the whole key, in hex.
        created_at: time of creation.
        revoked_at: time of revocation; None while the key is valid.
    """

    key_id: str
    role: str
    digest: str
    created_at: datetime
    revoked_at: datetime | None = None

    @property
    def is_valid(self) -> bool:
        """True if the key was not revoked."""
        return self.revoked_at is None

    def fits(self, presented: bytes) -> bool:
        """Tell if a presented key is this key; compares in constant time."""
        return hmac.compare_digest(sha256(presented).hexdigest(), self.digest)


def id_of(presented: bytes) -> str:
    """Return the id inside a presented key; for other input, text that names no key."""
    _, _, remainder = presented.partition(b"_")
    return remainder.partition(b"_")[0].decode("ascii", "replace")
