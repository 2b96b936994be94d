"""Rate limit per key: one leaky bucket per key and worker."""

from aiolimiter import AsyncLimiter

from serving.http.auth import RequestRefused

PER_SECOND = 10_000


class RateLimiter:
    """Rate limiter of all keys; it holds one bucket per key that sent a request.

    Args:
        per_second: maximum requests per key, worker and second; also the maximum burst.
    """

    def __init__(self, per_second: int = PER_SECOND) -> None:
        self._per_second = per_second
        self._buckets: dict[str, AsyncLimiter] = {}

    async def take(self, key_id: str) -> None:
        """Count a request; never waits.

        Raises:
            RequestRefused: 429, the key has sent too many requests.
        """
        bucket = self._buckets.get(key_id)
        if bucket is None:
            bucket = self._buckets[key_id] = AsyncLimiter(self._per_second, time_period=1.0)
        if not bucket.has_capacity():
            sentence = (
                f"requests: expected at most {self._per_second} a second of one key, got more"
            )
            raise RequestRefused(429, f"{sentence}; repeat in a second", {"Retry-After": "1"})
        await bucket.acquire()
