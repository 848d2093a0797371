"""Pages in a real browser: they open without console messages, show their figures, follow dark and light mode."""

import base64
import dataclasses
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest

from emi_jax.modalities import MODALITIES
from emi_jax.prediction import FaceFrame, OverTime, Prediction, WindowPrediction
from emi_jax.report import figures, studies, svg
from emi_jax.report.clip import write_clip_page
from emi_jax.report.run import write_report
from emi_jax.runs.comparison import compare
from emi_jax.runs.drawings import draw_scores
from emi_jax.runs.scores import measure
from tests.fakes import NAMES, make_dataset, make_example

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium")
SCHEMES = {"dark": "0", "light": "1"}


def browse(page, folder, scheme="light"):
    """The DOM that the browser makes of a page, its console messages, and a screenshot."""
    picture = folder / f"{page.stem}-{scheme}.png"
    options = [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        f"--user-data-dir={folder / 'profile'}",
        "--window-size=1000,2400",
        f"--blink-settings=preferredColorScheme={SCHEMES[scheme]}",
        "--enable-logging=stderr",
    ]
    command = [CHROMIUM, *options, f"--screenshot={picture}", "--dump-dom", page.as_uri()]
    found = subprocess.run(command, capture_output=True, text=True, timeout=180, check=True)
    messages = [line for line in found.stderr.splitlines() if "CONSOLE" in line]
    return found.stdout, messages, cv2.imread(str(picture))


class Sources(HTMLParser):
    """Addresses that a page would have to fetch, the number of its drawings, and the tags it uses."""

    def __init__(self):
        super().__init__()
        self.fetched, self.drawings, self.tags = [], 0, set()

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        for name, value in attributes:
            self.drawings += name == "src" and value.startswith("data:image/svg+xml;base64,")
            if name in ("src", "href", "xlink:href") and not value.startswith(("data:", "#")):
                self.fetched.append(value)


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """A report with every kind of figure, and their number."""
    folder = tmp_path_factory.mktemp("run")
    rng = np.random.default_rng(0)
    labels = rng.random((60, 6))
    outputs = {
        "predictions": 0.5 * labels + 0.3 * rng.random((60, 6)),
        "labels": labels,
        "label_mask": np.ones((60, 6), bool),
        "present": rng.random((60, 3)) < 0.9,
        "weights": rng.dirichlet(np.ones(3), 60),
    }
    subjects, ceiling = [f"s{k % 9}" for k in range(60)], dict.fromkeys(NAMES, 0.9)
    results = measure(outputs, NAMES, subjects, ceiling, seconds=rng.uniform(1, 9, 60))
    other = 0.5 * labels + 0.5 * rng.random((60, 6))
    results["comparison"] = compare(outputs, folder / "other", other, NAMES, subjects, "test")
    records = [{"step": step, "loss": 1 / step} for step in range(1, 60)] + [{"step": 59, "valid/mean/pearson": 0.3}]
    directions = {f"{one}/{metric}": 0.4 for one in ("a_to_text", "text_to_a") for metric in ("recall@1", "recall@5")}
    unit = rng.standard_normal((30, 8))
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    rows = {
        title: {"pearson": 0.6, "interval": [0.5, 0.7], "difference": -0.1, "difference_interval": [-0.2, 0.0]}
        for title in ("full model", "minus QAM")
    }
    curve = [[0.6, 0.7], [0.5, 0.6], [0.2, 0.3]]
    models = {"full": {"pearson": curve, "weight": curve}, "no QAM": {"pearson": curve[::-1], "weight": curve}}
    defects = {"noise": {"severities": [None, 10.0, 0.0], "unit": "dB", "models": models}}
    drawn = {
        "curves": figures.curves(records, "mean/pearson"),
        "recall_test": figures.recalls(directions | {"chance_a_text/recall@1": 0.1, "chance_a_text/recall@5": 0.2}),
        "similarity_test": figures.similarities({"vision": (unit, unit), "audio": (unit, -unit)}),
        "ablation": studies.grid(rows, "full"),
        "robustness": studies.robustness(defects, ["full", "no QAM"], ("pearson", "weight")),
    }
    for name, figure in drawn.items():
        svg.save(figure, folder / "figures" / f"{name}.svg")
    scored = draw_scores(folder / "figures", "test", outputs, results, subjects, (0.0, 1.0))
    (folder / "metrics_test.json").write_text(json.dumps(results))
    dataset = make_dataset(1, 1, 1)
    page = write_report(folder, {"stage": "intensity", "init_from": "", "root": str(folder / "none")}, dataset)
    return page, len(drawn) + len(scored)


@pytest.fixture(scope="module")
def clip_page(tmp_path_factory):
    """The page of a clip with all three modalities."""
    rng = np.random.default_rng(0)
    example = make_example(rng, "00007", frames=6, samples=16000)
    arrays = {
        "frame_mask": np.arange(8) < 6,
        "frame_picks": np.where(np.arange(8) < 6, np.arange(8), -1),
        "audio": example["audio"],
        "audio_mask": np.ones(16000, bool),
    }
    prediction = Prediction(
        id="00007",
        intensities=dict(zip(NAMES, rng.random(6).tolist(), strict=True)),
        weights=dict(zip(MODALITIES, (0.5, 0.3, 0.2), strict=True)),
        share=dict(zip(MODALITIES, (0.4, 0.4, 0.2), strict=True)),
        reliability={"vision": rng.random(6), "audio": rng.random(24), "text": rng.random(3)},
        times={"vision": np.arange(6) / 5, "audio": np.arange(24) / 24, "text": np.array([0.0, 0.4, 1.0])},
        tokens=["[CLS]", "<wow>", "[SEP]"],
        informed=True,
        arrays=arrays,
        example=example,
        remarks=("1.5 s of silence stand for a gap in the <sound>.",),
    )
    return write_clip_page(tmp_path_factory.mktemp("clip") / "00007.html", prediction, (0.0, 1.0))


@pytest.fixture(scope="module")
def page_over_time(tmp_path_factory):
    """The page of a clip of a minute, in windows of 4 s."""
    rng = np.random.default_rng(0)
    faces = make_example(rng, "x", frames=12)["faces"]
    course = 0.5 + 0.4 * np.sin(np.arange(57)[:, None] / 9 + np.arange(6))
    windows = tuple(
        WindowPrediction(
            start=float(n),
            end=n + 4.0,
            intensities=dict(zip(NAMES, values, strict=True)),
            weights=dict(zip(MODALITIES, (0.5, 0.3, 0.2) if n < 30 else (0.0, 0.6, 0.4), strict=True)),
            share={},
            reliability={},
            flags=() if n < 30 else ("no face",),
            person=int(n < 30),
        )
        for n, values in enumerate(course.tolist())
    )
    seconds = np.arange(0, 60, 0.01)
    waveform = np.stack([seconds, -abs(np.sin(seconds)), abs(np.sin(seconds))], axis=1)
    frames = tuple(FaceFrame(face, 5.0 * n, 0.8 if n < 6 else None) for n, face in enumerate(faces))
    steps = {"vision": np.full(60, 0.8), "audio": rng.random(3000), "text": np.zeros(0)}
    times = {"vision": np.arange(60) / 2, "audio": np.arange(3000) / 50, "text": np.zeros(0)}
    means, share = dict(zip(NAMES, course.mean(0).tolist(), strict=True)), dict.fromkeys(MODALITIES, 1 / 3)
    other = dataclasses.replace(windows[3], person=2)
    over_time = OverTime(windows, (other,), frames, waveform, np.zeros((0, 5)))
    example = {"labels": np.zeros(0), "face_found": np.zeros(0, bool)}
    prediction = Prediction("long", means, share, share, steps, times, [], True, {}, example, (), over_time)
    return write_clip_page(tmp_path_factory.mktemp("clip") / "long.html", prediction, (0.0, 1.0))


def test_the_page_of_a_clip_in_windows_shows_its_course(page_over_time):
    sources = Sources()
    sources.feed(page_over_time.read_text(encoding="utf-8"))
    assert sources.fetched == []
    assert sources.drawings == 3
    text = page_over_time.read_text()
    assert "The mean over 57 windows" in text
    assert "Another person is seen" in text
    assert text.count("data:image/jpeg") == 12
    (drawing,) = re.findall(r'alt="Intensities and modality weights[^"]*"', text)
    images = re.findall(r'<img src="data:image/svg\+xml;base64,([^"]*)"', text)
    assert drawing
    drawn = [base64.b64decode(image).decode() for image in images]
    assert all("prefers-color-scheme:dark" in image for image in drawn)
    assert all(name in drawn[2] for name in (*NAMES, "intensity", "weight w", "waveform", "seconds"))
    assert "56.00 to 60.00" in text


@needs_browser
def test_the_page_of_a_clip_in_windows_opens_without_console_messages(page_over_time, tmp_path):
    dom, messages, picture = browse(page_over_time, tmp_path, "dark")
    assert messages == []
    assert dom.count("<img") == 12 + 3
    assert picture.std() > 5


def test_clip_page_counts_steps_of_features_of_ones_own(tmp_path):
    example = make_example(np.random.default_rng(0), "a", frames=0, samples=0, words=0)
    arrays = {}
    for name, mask in (("vision", [True, True, False]), ("audio", [False] * 3), ("text", [True] * 3)):
        arrays |= {f"{name}/features": np.zeros((3, 2)), f"{name}/mask": np.array(mask)}
    steps = {name: np.full(arrays[f"{name}/mask"].sum(), 0.5) for name in MODALITIES}
    shares = dict.fromkeys(MODALITIES, 0.5)
    times = {name: np.arange(len(values)) / 2 for name, values in steps.items()}
    prediction = Prediction("a", dict.fromkeys(NAMES, 0.5), shares, shares, steps, times, [], True, arrays, example)
    text = write_clip_page(tmp_path / "a.html", prediction, (0.0, 1.0)).read_text()
    face, voice, words = text[text.index("<h2>Face") :].split("<h2>")[1:]
    assert "<p>2 steps of the user's own features.</p>" in face
    assert "steps of the user" not in voice
    assert "<p>3 steps of the user's own features.</p>" in words
    assert "This model has no Quality-Aware Module" not in text
    certain = {name: np.ones_like(values) for name, values in steps.items()}
    alike = dataclasses.replace(prediction, reliability=certain)
    text = write_clip_page(tmp_path / "a.html", alike, (0.0, 1.0)).read_text()
    assert "This model has no Quality-Aware Module" in text
    assert "effective share" not in text


def test_pages_fetch_nothing_and_embed_their_images(report, clip_page):
    page, drawings = report
    for path, expected in ((page, drawings), (clip_page, 3)):
        sources = Sources()
        sources.feed(path.read_text(encoding="utf-8"))
        assert sources.fetched == []
        assert sources.drawings == expected
        assert not sources.tags & {"svg", "script", "iframe", "object"}
    text = clip_page.read_text()
    assert "&lt;wow&gt;" in text
    assert "<li>1.5 s of silence stand for a gap in the &lt;sound&gt;.</li>" in text
    assert text.count("data:image/jpeg") == 6


@needs_browser
def test_report_opens_without_console_messages_in_light_and_dark(report, tmp_path):
    page, drawings = report
    light, dark = (browse(page, tmp_path, scheme) for scheme in ("light", "dark"))
    for dom, messages, picture in (light, dark):
        assert messages == []
        assert dom.count('<img src="data:image/svg+xml;base64,') == drawings
        assert picture.std() > 5
    assert light[2].mean() > 200
    assert dark[2].mean() < 80


@needs_browser
def test_clip_page_opens_without_console_messages(clip_page, tmp_path):
    dom, messages, picture = browse(clip_page, tmp_path)
    assert messages == []
    assert dom.count("<img") == 6 + 3
    assert picture.std() > 5


@needs_browser
def test_policy_stops_scripts(clip_page, tmp_path):
    script = "<script>document.title = 'it ran'</script>"
    page = tmp_path / "injected.html"
    page.write_text(
        clip_page.read_text().replace("</main>", f"{script}<svg onload=\"document.title='it ran'\"/></main>")
    )
    dom, messages, _ = browse(page, tmp_path)
    assert "<title>clip 00007</title>" in dom
    assert any("Content Security Policy" in message for message in messages)
