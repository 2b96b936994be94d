"""What the platform tells about a learner."""

from serving.endpoints import Endpoint

ENDPOINTS: tuple[Endpoint, ...] = ()
