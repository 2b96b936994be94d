import numpy as np
import pytest
from matplotlib.figure import Figure

from training.reports import plots

PNG = b"\x89PNG"


@pytest.fixture
def drawn(monkeypatch):
    """Lines of the last figure saved: label -> (x, y)."""
    lines = {}
    save = Figure.savefig

    def keep(figure, *args, **kwargs):
        lines.update({line.get_label(): line.get_data() for line in figure.axes[0].lines})
        save(figure, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", keep)
    return lines


def test_hit_rates_rise_to_the_share_that_is_ranked_at_all(tmp_path, drawn):
    path = plots.hit_rate_by_k(tmp_path / "new" / "hr.png", "NEW", {"m": np.array([1, 3, np.inf])})
    assert path.read_bytes().startswith(PNG)
    assert path.stat().st_size < 100_000
    np.testing.assert_allclose(drawn["m"][1], [1 / 3] * 2 + [2 / 3] * 8)


def test_reliability_of_a_calibrated_model_lies_on_the_diagonal(tmp_path, drawn):
    probability = np.repeat([0.25, 0.75], 400)
    passed = np.concatenate([np.arange(400) % 4 == 0, np.arange(400) % 4 != 0]).astype(int)
    plots.reliability(tmp_path / "r.png", "success", {"m": (passed, probability)})
    expected, observed = drawn["m"]
    np.testing.assert_allclose(expected, [0.25, 0.75])
    np.testing.assert_allclose(observed, expected)


def test_curves_show_both_losses_from_the_first_epoch(tmp_path, drawn):
    curves = {"loss": [3.0, 2.0], "val_loss": [3.1, 2.4], "learning_rate": [1e-3, 1e-3]}
    plots.training_curves(tmp_path / "c.png", "reference", curves)
    assert drawn.keys() == {"training", "validation"}
    np.testing.assert_array_equal(drawn["training"][0], [1, 2])


def test_nothing_to_draw_still_gives_a_picture(tmp_path):
    empty = np.array([])
    for path in (
        plots.training_curves(tmp_path / "a.png", "counting", {}),
        plots.hit_rate_by_k(tmp_path / "b.png", "none", {"m": empty}),
        plots.reliability(tmp_path / "c.png", "none", {"m": (empty.astype(int), empty)}),
    ):
        assert path.read_bytes().startswith(PNG)
