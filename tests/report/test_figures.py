"""Figures: labels of any kind are drawn as they are, in the users' units."""

import io
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from emi_jax.prediction import Prediction
from emi_jax.report import clip, figures, studies, svg
from emi_jax.report.course import course
from emi_jax.runs.drawings import _are_estimated

LABELS = ("$x$ and $", r"a_b^{c}\d~", "<b>&|", "喜び", "mean", "seconds")


def texts(figure):
    """What an SVG says, element by element."""
    root = ElementTree.fromstring(svg.to_svg(figure))
    return [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]


@pytest.fixture
def outputs():
    rng = np.random.default_rng(0)
    shape = (20, len(LABELS))
    return {
        "labels": rng.random(shape),
        "predictions": rng.random(shape),
        "label_mask": np.ones(shape, bool),
        "present": np.ones((20, 3), bool),
        "weights": rng.dirichlet(np.ones(3), 20),
    }


@pytest.fixture
def results():
    row = {"pearson": 0.5, "pearson_interval": [0.4, 0.6], "ceiling": 0.9}
    return {"labels": dict.fromkeys(LABELS, row), "mean": row}


def test_labels_are_drawn_as_they_are(outputs, results):
    bars = texts(figures.pearson_bars(results))
    assert [text for text in bars if text in LABELS] == [*LABELS, "mean"]
    panels = texts(figures.scatter(outputs, results))
    assert {f"{name}: 0.500" for name in LABELS} <= set(panels)


def test_ceilings_are_mentioned_where_they_are_drawn(results):
    title = "Pearson, with 95% intervals (lines)"
    assert f"{title} and ceilings (dotted)" in texts(figures.pearson_bars(results))
    results["mean"].pop("ceiling")
    assert title in texts(figures.pearson_bars(results))


def test_a_curve_of_one_point_has_whole_steps():
    figure = figures.curves([{"step": 3, "loss": 0.5, "valid/mean/pearson": 0.25}], "mean/pearson")
    figure.draw_without_rendering()
    for axes in figure.axes:
        assert all(float(tick).is_integer() for tick in axes.get_xticks())


def test_no_figure_is_narrower_than_pages_show_it(outputs):
    page = Path(figures.__file__).with_name("templates") / "style.css"
    (shown,) = re.findall(r"\.drawing img {[^}]*min-width: (\d+)rem", page.read_text())
    drawing = svg.to_svg(figures.weights(outputs))  # one group of clips, the smallest of all figures
    (points,) = re.findall(r'<svg[^>]*? width="([\d.]+)pt"', drawing)
    assert float(points) / 72 * 96 >= int(shown) * 16  # CSS pixels


def test_signs_that_xml_forbids_are_replaced(results):
    results["labels"] = {"a\x01b": results["mean"]}
    assert "a\N{REPLACEMENT CHARACTER}b" in texts(figures.pearson_bars(results))


def test_predictions_are_drawn_in_the_users_units(outputs, results):
    axes = figures.scatter(outputs, results, (-50.0, 50.0)).axes[0]
    drawn = np.asarray(axes.collections[0].get_offsets())
    np.testing.assert_allclose(drawn[:, 0], outputs["labels"][:, 0] * 100 - 50)
    np.testing.assert_allclose(drawn[:, 1], outputs["predictions"][:, 0] * 100 - 50)


def test_weights_show_the_modalities_in_use_alone(outputs):
    outputs["present"][:, 1] = False
    outputs["present"][:4, 0] = False
    titles = [axes.get_title() for axes in figures.weights(outputs).axes]
    assert titles == ["all present (16)", "no vision (4)"]
    assert [label.get_text() for label in figures.weights(outputs).axes[0].get_xticklabels()] == ["vision", "text"]


def test_weights_that_no_module_has_estimated_are_not_drawn(outputs):
    present = np.random.default_rng(1).random((20, 3)) < 0.7
    present[0] = False
    outputs["present"] = present
    assert _are_estimated(outputs)
    outputs["weights"] = (present / np.maximum(present.sum(1, keepdims=True), 1)).astype(np.float32)
    assert not _are_estimated(outputs)
    outputs["weights"][1] = 0.5 * (present[1] + [0.1, 0, 0])
    assert _are_estimated(outputs)
    del outputs["weights"]
    assert not _are_estimated(outputs)


def test_a_clip_that_is_not_heard_has_no_spectrogram():
    arrays = {"audio": np.full(16000, 99, np.int16), "audio_mask": np.ones(16000, bool)}
    clips = {}
    for name, read in (("heard", arrays), ("silent", {})):
        prediction = Prediction(name, {}, {}, {}, {"vision": np.ones(3)}, {"vision": np.arange(3)}, [], True, read, {})
        clips[name] = [axes.get_ylabel() for axes in course(prediction, (0.0, 1.0)).axes]
    assert clips == {
        "heard": ["waveform", "Hz, mel scale", "reliability r"],
        "silent": ["waveform", "reliability r"],
    }


def test_each_direction_of_retrieval_has_its_own_chance():
    scores = {f"{name}/{metric}": 0.5 for name in ("a_to_text", "text_to_b") for metric in ("recall@1", "recall@5")}
    scores |= {"chance_a_text/recall@1": 0.1, "chance_b_text/recall@1": 0.2}
    scores |= {"chance_a_text/recall@5": 0.3, "chance_b_text/recall@5": 0.4}
    for axes, expected in zip(figures.recalls(scores).axes, ([0.1, 0.2], [0.3, 0.4]), strict=True):
        assert [lines.get_segments()[0][0][1] for lines in axes.collections] == expected


@pytest.mark.parametrize(
    ("severities", "unit", "ticks", "label"),
    [([None, 1.0], "missing", ["clean", "missing"], ""), ([None, 20.0, 0.0], "dB", ["clean", "20", "0"], "dB")],
)
def test_severities_are_named_at_the_axis(severities, unit, ticks, label):
    models = {"full": {"pearson": [[0.5, 0.6]] * len(severities)}}
    defects = {"no $voice$": {"severities": severities, "unit": unit, "models": models}}
    (axes,) = studies.robustness(defects, ["full"], ("pearson",)).axes
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ticks
    assert axes.get_xlabel() == label
    assert axes.get_title() == "no $voice$"


def test_a_clips_bars_start_at_the_low_end_of_the_range():
    values = dict(zip(LABELS, (-50.0, -25.0, 0.0, 10.0, 25.0, 50.0), strict=True))
    example = {"labels": np.linspace(0, 1, 6)}
    prediction = Prediction("a", values, {}, {}, {}, {}, [], True, {}, example)
    (axes,) = clip.intensities(prediction, (-50.0, 50.0)).axes
    assert [bar.get_x() for bar in axes.patches] == [-50.0] * 6
    assert [bar.get_x() + bar.get_width() for bar in axes.patches] == list(values.values())
    np.testing.assert_allclose(axes.lines[0].get_xdata(), np.linspace(-50, 50, 6))
    assert [label.get_text() for label in axes.get_yticklabels()] == list(LABELS)


def test_a_picture_is_the_figure_on_white():
    with svg.style():
        figure = figures.new_figure(3, 2)
        figure.add_subplot(title="title").plot([0, 1], [1, 0], linestyle="--", alpha=0.5)
        saved = io.BytesIO()
        figure.savefig(saved, format="png", dpi=100, facecolor="white")
    found, expected = (np.asarray(image, int) for image in (svg.to_picture(figure), Image.open(saved).convert("RGB")))
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= 2  # of 255: rounding of what is half transparent
    assert found[0, 0].tolist() == [255, 255, 255]
    assert found.min() < 64
