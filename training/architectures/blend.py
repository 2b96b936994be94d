"""Blend of networks: the geometric mean of their answers, as one network.

Source: Hinton 2002 (Neural Computation 14(8)) for products of experts; a mean of scores is one.
"""

from collections.abc import Sequence

from training.architectures import Model, Network, like


def of(networks: Sequence[Network], name: str) -> Network:
    """Average the scores of several networks; their states are concatenated.

    Args:
        networks: each with `scores` and the same answers.
        name: name of the model.
    """
    import keras

    widths = [network.state for network in networks]
    total = sum(widths)
    inputs = {key: like(t, key) for network in networks for key, t in network.scores.input.items()}
    if total:
        inputs["state"] = keras.Input((total,), name="state")
    states = _parted(inputs.get("state"), widths)
    answers = [
        network.scores(
            {key: inputs[key] if key != "state" else state for key in network.scores.input}
        )
        for network, state in zip(networks, states, strict=True)
    ]
    mean = {key: sum(answer[key] for answer in answers[1:]) + answers[0][key] for key in answers[0]}
    scores = {key: total_score * (1.0 / len(networks)) for key, total_score in mean.items()}
    return Network(
        read=keras.Model(inputs, scores, name=name),  # replaced by calibration
        scores=keras.Model(inputs, scores, name=name),
        step=_step(networks, widths) if total else None,
        unroll=_unroll(networks) if total else None,
    )


def _parted(state: Model, widths: Sequence[int]) -> list[Model]:
    parts, start = [], 0
    for width in widths:
        parts.append(state[:, start : start + width] if width else None)
        start += width
    return parts


def _step(networks: Sequence[Network], widths: Sequence[int]) -> Model:
    import keras

    state = keras.Input((sum(widths),), name="state")
    event = like(next(n.step for n in networks if n.step).input["event"], "event")
    after = [
        network.step({"state": of_network, "event": event})["next_state"]
        for network, of_network in zip(networks, _parted(state, widths), strict=True)
        if network.step
    ]
    joined = {"next_state": keras.ops.concatenate(after, axis=1) if len(after) > 1 else after[0]}
    return keras.Model({"state": state, "event": event}, joined, name="step")


def _unroll(networks: Sequence[Network]) -> Model:
    import keras

    unrolled = [network.unroll for network in networks if network.unroll]
    events = like(unrolled[0].input, "events")
    after = [unroll(events) for unroll in unrolled]
    joined = keras.ops.concatenate(after, axis=2) if len(after) > 1 else after[0]
    return keras.Model(events, joined, name="unroll")
