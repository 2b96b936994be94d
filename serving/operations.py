"""What the people who run the service ask: whether it is well, and how it does."""

from serving.endpoints import Endpoint

ENDPOINTS: tuple[Endpoint, ...] = ()
