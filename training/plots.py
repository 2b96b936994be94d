"""Small pictures for a run's page: how training went, hit rate by k, reliability."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from sensei.metrics import Floats, Ints, calibration_bins, hit_rate_at_k

MAX_K = 10
"""Hit rates are drawn for lists of one to so many topics."""


def training_curves(path: Path, title: str, curves: Mapping[str, Sequence[float]]) -> Path:
    """Loss per epoch, in training and on the validation part.

    Args:
        path: PNG file to write.
        title: heading.
        curves: metric -> value per epoch, as Keras names them; those without `loss` are left out.
    """
    figure, axes = _axes(title, "epoch", "loss")
    losses = {name: values for name, values in curves.items() if name in ("loss", "val_loss")}
    for name, values in losses.items():
        label = "validation" if name.startswith("val") else "training"
        axes.plot(np.arange(1, len(values) + 1), values, label=label)
    return _save(figure, axes, path)


def hit_rate_by_k(path: Path, title: str, rank: Mapping[str, Floats]) -> Path:
    """Share of targets among the first k topics, a line per model.

    Args:
        path: PNG file to write.
        title: heading.
        rank: model -> (n,) ranks, infinity where the topic has no slot.
    """
    figure, axes = _axes(title, "topics recommended (k)", "hit rate")
    k = np.arange(1, MAX_K + 1)
    for name, ranks in rank.items():
        if len(ranks):
            axes.plot(k, [hit_rate_at_k(ranks, int(i)).mean() for i in k], marker=".", label=name)
    axes.set(xticks=k, ylim=(0, 1))
    return _save(figure, axes, path)


def reliability(
    path: Path, title: str, answers: Mapping[str, tuple[Ints, NDArray[np.floating]]]
) -> Path:
    """Observed share of successes against expected success, in equal-count bins.

    Args:
        path: PNG file to write.
        title: heading.
        answers: model -> outcomes (n,) of 1 and 0, and the probabilities (n,) given to success.
    """
    figure, axes = _axes(title, "expected success", "observed success")
    axes.plot([0, 1], [0, 1], color="0.7", linestyle="--", label="perfect")
    for name, (passed, probability) in answers.items():
        bin_of, filled = calibration_bins(probability)
        if len(filled):
            count = np.bincount(bin_of)[filled]
            expected = np.bincount(bin_of, np.asarray(probability, np.float64))[filled] / count
            observed = np.bincount(bin_of, np.asarray(passed, np.float64))[filled] / count
            axes.plot(expected, observed, marker="o", markersize=3, label=name)
    axes.set(xlim=(0, 1), ylim=(0, 1))
    return _save(figure, axes, path)


def _axes(title: str, x: str, y: str) -> tuple[Figure, Axes]:
    """A figure without pyplot, which keeps figures alive and wants the main thread."""
    figure = Figure(figsize=(5, 3.5), dpi=90, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set(title=title, xlabel=x, ylabel=y)
    axes.grid(visible=True, alpha=0.3)
    return figure, axes


def _save(figure: Figure, axes: Axes, path: Path) -> Path:
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize="small")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Software": None})
    return path
