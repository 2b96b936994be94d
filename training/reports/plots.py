"""Plots of a run: training curves, hit rate by k, reliability, metrics by slice."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from sensei.metrics import Floats, Ints, calibration_bins, hit_rate_at_k

MAX_K = 10
"""Maximum list length k for which hit rates are drawn."""

CHOSEN = "#117733"
NETWORKS = ("#332288", "#cc6677", "#aa4499", "#88ccee")
BASELINES = ("#999933", "#bb7700", "#555555")
"""Colours of baselines.

These and the other model colours suit most forms of colour blindness. Source: Tol 2021, the muted
scheme.
"""


@dataclass(frozen=True)
class Emphasis:
    """Models named in a plot; the others are thin grey lines without a name.

    Attributes:
        chosen: drawn thick, and on top.
        networks: drawn in colours.
        baselines: drawn dashed.
    """

    chosen: str
    networks: tuple[str, ...] = ()
    baselines: tuple[str, ...] = ()

    @property
    def order(self) -> list[str]:
        """Names in the order of the legend."""
        return [self.chosen, *self.networks, *self.baselines]

    def style(self, name: str) -> dict[str, Any]:
        """Return the line style of a model."""
        label = name.replace("_", " ")
        if name == self.chosen:
            return {"label": f"{label} (chosen)", "color": CHOSEN, "linewidth": 2.4, "zorder": 5}
        if name in self.networks:
            color = NETWORKS[self.networks.index(name) % len(NETWORKS)]
            return {"label": label, "color": color, "linewidth": 1.4, "zorder": 4}
        if name in self.baselines:
            color = BASELINES[self.baselines.index(name) % len(BASELINES)]
            return {"label": label, "color": color, "linestyle": "--", "zorder": 3}
        return {"color": "0.85", "linewidth": 0.8, "zorder": 1}


def training_curves(path: Path, title: str, curves: Mapping[str, Sequence[float]]) -> Path:
    """Plot the loss per epoch, in training and on the validation part.

    Args:
        path: PNG file to write.
        title: heading.
        curves: metric -> value per epoch, as named by Keras; only `loss` and `val_loss` are drawn.
    """
    figure, axes = _axes(title, "epoch", "loss")
    losses = {name: values for name, values in curves.items() if name in ("loss", "val_loss")}
    for name, values in losses.items():
        label = "validation" if name.startswith("val") else "training"
        axes.plot(np.arange(1, len(values) + 1), values, label=label)
    return _save(figure, axes, path)


def hit_rate_by_k(
    path: Path, title: str, rank: Mapping[str, Floats], emphasis: Emphasis | None = None
) -> Path:
    """Plot the share of targets among the first k topics, one line per model.

    Args:
        path: PNG file to write.
        title: heading.
        rank: model -> (n,) ranks, infinity if the topic has no slot.
        emphasis: models to name; by default all.
    """
    figure, axes = _axes(title, "topics recommended (k)", "hit rate")
    k = np.arange(1, MAX_K + 1)
    for name, ranks in _ordered(rank, emphasis).items():
        if len(ranks):
            rates = [hit_rate_at_k(ranks, int(i)).mean() for i in k]
            axes.plot(k, rates, marker=".", **_style(name, emphasis))
    axes.set(xticks=k, ylim=(0, 1))
    return _save(figure, axes, path)


def reliability(
    path: Path,
    title: str,
    answers: Mapping[str, tuple[Ints, NDArray[np.floating]]],
    emphasis: Emphasis | None = None,
) -> Path:
    """Plot the observed share of successes against predicted success, in equal-count bins.

    Args:
        path: PNG file to write.
        title: heading.
        answers: model -> outcomes (n,) of 1 and 0, and the predicted probabilities (n,) of success.
        emphasis: models to name; by default all.
    """
    figure, axes = _axes(title, "expected success", "observed success")
    axes.plot([0, 1], [0, 1], color="0.7", linestyle=":", label="perfect")
    for name, (passed, probability) in _ordered(answers, emphasis).items():
        bin_of, filled = calibration_bins(probability)
        if len(filled):
            count = np.bincount(bin_of)[filled]
            expected = np.bincount(bin_of, np.asarray(probability, np.float64))[filled] / count
            observed = np.bincount(bin_of, np.asarray(passed, np.float64))[filled] / count
            axes.plot(expected, observed, marker="o", markersize=3, **_style(name, emphasis))
    axes.set(xlim=(0, 1), ylim=(0, 1))
    return _save(figure, axes, path)


def by_slice(
    path: Path,
    words: tuple[str, str, str],
    counts: Mapping[str, int],
    values: Mapping[str, Sequence[float]],
    interval: Sequence[tuple[float, float]],
    emphasis: Emphasis,
) -> Path:
    """Plot a metric of each model by slice, with the number of targets below each slice.

    Args:
        path: PNG file to write.
        words: heading, label of the slices, label of the metric.
        counts: slice -> targets in it, in drawing order.
        values: model -> one value per slice; NaN if it has no target.
        interval: low and high of the chosen model per slice.
        emphasis: models to name.
    """
    figure, axes = _axes(*words)
    x = np.arange(len(counts))
    low, high = np.array(interval, np.float64).T
    axes.fill_between(x, low, high, color=CHOSEN, alpha=0.15, linewidth=0, label="95 % interval")
    for name, points in _ordered(values, emphasis).items():
        axes.plot(
            x, np.array(points, np.float64), marker="o", markersize=4, **_style(name, emphasis)
        )
    axes.set_xticks(x, [f"{name}\n{count:,}" for name, count in counts.items()])
    axes.margins(x=0.05)
    return _save(figure, axes, path)


def _ordered(values: Mapping[str, Any], emphasis: Emphasis | None) -> dict[str, Any]:
    """Return the values in legend order, then the rest; the style sets the drawing order."""
    emphasized = [name for name in emphasis.order if name in values] if emphasis else []
    return {
        name: values[name] for name in (*emphasized, *(n for n in values if n not in emphasized))
    }


def _style(name: str, emphasis: Emphasis | None) -> dict[str, Any]:
    return emphasis.style(name) if emphasis else {"label": name}


def _axes(title: str, x: str, y: str) -> tuple[Figure, Axes]:
    """Make a figure without pyplot, which keeps figures in memory and needs the main thread."""
    figure = Figure(figsize=(6.4, 3.8), dpi=90, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_title(title, fontsize="medium")
    axes.set(xlabel=x, ylabel=y)
    axes.tick_params(labelsize="small")
    axes.grid(visible=True, alpha=0.3)
    return figure, axes


def _save(figure: Figure, axes: Axes, path: Path) -> Path:
    if axes.get_legend_handles_labels()[0]:
        figure.legend(
            *axes.get_legend_handles_labels(), loc="outside right upper", fontsize="small"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Software": None})
    return path
