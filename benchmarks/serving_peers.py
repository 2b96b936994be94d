"""Peer servers for the benchmark of the service, without log, keys and metrics.

Each peer is one uvicorn process. `sketch` is the server of the mission: FastAPI and `model.predict`
on the reference network. `bare` uses no model library: FastAPI, NumPy weights of the same shapes,
and features in memory.
"""

import os
from itertools import pairwise

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from fastapi import FastAPI

WIDTHS = (20, 128, 64, 32, 82)
LEARNERS = 20_000


def features() -> dict[str, np.ndarray]:
    """Create twenty random numbers per learner."""
    rows = np.random.default_rng(0).random((LEARNERS, WIDTHS[0]), np.float32)
    return {f"learner-{number:07d}": row for number, row in enumerate(rows)}


def sketch() -> FastAPI:
    from keras import Sequential, layers

    hidden = [layers.Dense(width, "relu") for width in WIDTHS[1:-1]]
    model = Sequential([layers.Input((WIDTHS[0],)), *hidden, layers.Dense(WIDTHS[-1], "softmax")])
    app, features_of = FastAPI(), features()

    @app.get("/api/user/{username}/recommendations")
    def recommendations(username: str, count: int = 3) -> dict:
        share = model.predict(features_of[username][np.newaxis], verbose=0)[0]
        return _listed(share, count)

    return app


def bare() -> FastAPI:
    rng = np.random.default_rng(1)
    shapes = list(pairwise(WIDTHS))
    weights = [rng.normal(0, shape[0] ** -0.5, shape).astype(np.float32) for shape in shapes]
    app, features_of = FastAPI(), features()

    @app.get("/api/user/{username}/recommendations")
    async def recommendations(username: str, count: int = 3) -> dict:
        layer = features_of[username]
        for weight in weights[:-1]:
            layer = np.maximum(layer @ weight, 0)
        share = np.exp(layer @ weights[-1])
        return _listed(share / share.sum(), count)

    return app


def _listed(share: np.ndarray, count: int) -> dict:
    best = np.argpartition(-share, count)[:count]
    best = best[np.argsort(-share[best])]
    return {
        "recommendations": [
            {"topic_id": int(index) + 1, "probability": float(share[index])} for index in best
        ]
    }
