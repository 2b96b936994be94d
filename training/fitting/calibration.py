"""Probability calibration: fitted on the validation part, then built into the model.

Source: Guo et al. 2017 (ICML) for temperature scaling over many classes; Platt 1999 for slope and
offset.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sensei import metrics
from training.architectures import Model, Network
from training.fitting.train_loop import LearningTask, predict
from training.scores import score_difficulty

SLOPES = np.geomspace(0.5, 2.0, 29)
"""Candidate slopes (inverse temperatures) of the scores; 1 is in the middle."""

MAX_ROWS = 20_000
"""Maximum number of validation rows for the temperature, drawn at random."""

DEVIATIONS = 3.0
"""Minimum gain in log loss, in standard errors: two parameters always fit slightly better."""

LEAST_ATTEMPTS = 200
"""Minimum number of attempts; with fewer, the fit would follow noise."""


def calibrate(network: Network, task: LearningTask) -> Network:
    """Return the network with probabilities calibrated on the task's validation rows."""
    if "success" in network.scores.output:
        return _with_success(network, task)
    answered = replace(network, read=_softmax(network.scores, 1.0))
    return replace(network, read=_softmax(network.scores, _temperature(answered, task)))


def _temperature(network: Network, task: LearningTask) -> float:
    loss, rows = np.zeros(len(SLOPES)), task.validate.rows
    if len(rows) > MAX_ROWS:
        rows = rows.take(np.sort(np.random.default_rng(0).permutation(len(rows))[:MAX_ROWS]))
    for chosen, answer in predict(network, replace(task.validate, rows=rows)):
        score = np.log(np.maximum(answer["probability"], 1e-9))
        target = rows.target[chosen] - 1
        hit = score[np.arange(len(chosen)), target]
        for index, slope in enumerate(SLOPES):
            loss[index] += (np.log(np.exp(slope * score).sum(axis=1)) - slope * hit).sum()
    return float(SLOPES[loss.argmin()]) if len(rows) else 1.0


def _softmax(scores: Model, slope: float) -> Model:
    import keras

    answer = keras.ops.softmax(scores.output["probability"] * slope)
    return keras.Model(scores.input, {"probability": answer}, name=scores.name)


def _with_success(network: Network, task: LearningTask) -> Network:
    plain = replace(network, read=_sigmoids(network.scores, {}))
    rows = task.validate.rows
    scored = score_difficulty(lambda _: predict(plain, task.validate), rows)
    fitted = {
        "success": _platt(scored.passed, scored.probability),
        "levels": _platt(scored.passed, scored.any_item),
        "overall": _platt(scored.passed, scored.overall),
    }
    return replace(network, read=_sigmoids(network.scores, fitted))


def _platt(passed: NDArray[np.int8], probability: NDArray[np.float64]) -> tuple[float, float]:
    """Return slope and offset of the log odds; 1 and 0 if their gain is not significant."""
    from sklearn.linear_model import LogisticRegression

    if len(passed) < LEAST_ATTEMPTS or passed.min() == passed.max():
        return 1.0, 0.0
    p = np.clip(probability, 1e-6, 1 - 1e-6)
    odds = np.log(p / (1 - p))[:, None]
    fitted = LogisticRegression(C=1e6).fit(odds, passed)
    slope, offset = float(fitted.coef_[0, 0]), float(fitted.intercept_[0])
    after = 1.0 / (1.0 + np.exp(-(slope * odds[:, 0] + offset)))
    gain = metrics.log_loss(passed, p) - metrics.log_loss(passed, after)
    sure = gain.mean() > DEVIATIONS * gain.std() / np.sqrt(len(gain))
    return (slope, offset) if sure and slope > 0 else (1.0, 0.0)


def _sigmoids(scores: Model, fitted: dict[str, tuple[float, float]]) -> Model:
    import keras

    answers = {}
    for name, score in scores.output.items():
        slope, offset = fitted.get(name, (1.0, 0.0))
        answers[name] = keras.ops.sigmoid(score * slope + offset)
    return keras.Model(scores.input, answers, name=scores.name)
