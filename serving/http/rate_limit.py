"""How often each key may ask: a leaky bucket of its own for each, in each worker."""

from aiolimiter import AsyncLimiter

from serving.http.auth import RequestRefused

PER_SECOND = 10_000


class RateLimiter:
    """Counts the requests of each key; there are as many buckets as keys that asked.

    Args:
        per_second: most requests of one key that one worker answers in a second, also at once.
    """

    def __init__(self, per_second: int = PER_SECOND) -> None:
        self._per_second = per_second
        self._buckets: dict[str, AsyncLimiter] = {}

    async def take(self, key_id: str) -> None:
        """Count a request; never waits.

        Raises:
            Refused: 429, the key has asked too often.
        """
        bucket = self._buckets.get(key_id)
        if bucket is None:
            bucket = self._buckets[key_id] = AsyncLimiter(self._per_second, time_period=1.0)
        if not bucket.has_capacity():
            said = f"requests: expected at most {self._per_second} a second of one key, got more"
            raise RequestRefused(429, f"{said}; repeat in a second", {"Retry-After": "1"})
        await bucket.acquire()
