"""The page in a real browser: from a recording, or a file that is dropped, to the results of several clips."""

import contextlib
import csv
import dataclasses
import json
import threading
import wave

import cv2
import jax
import numpy as np
import pytest

from configs.commands.page import reader
from data_prep.clips.options import ClipOptions
from data_prep.corpora.new_clips import clip_reader
from data_prep.synthetic.face import render_frames
from data_prep.synthetic.plan import FPS, plan_corpus
from data_prep.synthetic.video import write_mp4
from data_prep.synthetic.voice import RATE, render_voice
from emi_jax.runs.experiment import Experiment
from emi_jax.runs.predictor import Predictor
from emi_jax.serve.server import listening, page_server
from emi_jax.train import parameters
from tests.configs import tiny_stage2
from tests.fakes import NAMES, make_dataset
from tests.report.test_browser import CHROMIUM, needs_browser

sync_playwright = pytest.importorskip("playwright.sync_api").sync_playwright
pytestmark = needs_browser
OPTIONS = ClipOptions(max_frames=12, max_seconds=3.0, face_size=96, detector="haar")
WIDE, NARROW = {"width": 1200, "height": 900}, {"width": 360, "height": 740}
WAIT = 30_000
"""Milliseconds."""


@pytest.fixture(scope="module")
def drawn():
    """The pictures and the sound of a drawn person."""
    plan = plan_corpus({"train": 1}, seed=3)[0]
    return render_frames(plan), render_voice(plan)


@pytest.fixture(scope="module")
def devices(drawn, tmp_path_factory):
    """What the browser's camera and microphone show and hear, as options."""
    frames, sound = drawn
    folder = tmp_path_factory.mktemp("devices")
    height, width = frames.shape[1:3]
    with (folder / "camera.y4m").open("wb") as file:
        file.write(f"YUV4MPEG2 W{width} H{height} F{FPS}:1 Ip A1:1 C420jpeg\n".encode())
        for picture in frames:
            file.write(b"FRAME\n" + cv2.cvtColor(picture, cv2.COLOR_RGB2YUV_I420).tobytes())
    with wave.open(str(folder / "microphone.wav"), "wb") as writer:
        writer.setparams((1, 2, RATE, 0, "NONE", ""))
        writer.writeframes((sound * 32767).astype(np.int16).tobytes())
    return [
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-video-capture={folder / 'camera.y4m'}",
        f"--use-file-for-fake-audio-capture={folder / 'microphone.wav'}",
    ]


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """The address of a page with a model that has learned nothing."""
    dataset = dataclasses.replace(make_dataset(), clip_options=OPTIONS.stored())
    experiment = Experiment.open(tiny_stage2(), dataset, tmp_path_factory.mktemp("run"), jax.devices()[:1])
    params = experiment.mapping.replicate(parameters.merge(*experiment.initial_params()))
    predictor = Predictor(experiment, params, 1, one_length=True)
    with (
        listening(0) as listener,
        clip_reader(OPTIONS, 1) as read_clip,
        page_server(predictor, None, reader(read_clip), listener, 1) as (server, address),
    ):
        compiled = predictor.compile_seconds
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield address
        server.should_exit = True
        thread.join()
        assert predictor.compile_seconds == compiled  # all clips ran the program that was compiled at the start


@pytest.fixture(scope="module")
def browser(devices):
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *devices])
        yield browser
        browser.close()


@contextlib.contextmanager
def opened(browser, address, **options):
    """A new page; in the end nothing is in its console and nothing came from elsewhere."""
    context = browser.new_context(**options)
    page, messages, requests = context.new_page(), [], []
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.set_default_timeout(WAIT)
    page.goto(address)
    yield page
    context.close()
    assert messages == []
    assert [url for url in requests if not url.startswith((address, "data:", "blob:"))] == []


def overflow(page):
    """By how many pixels the page is wider than its window."""
    return page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")


def intensities(row):
    return [float(cell.inner_text()) for cell in row.locator("td.value").all()]


def test_a_clip_is_recorded_by_keyboard_alone_and_its_page_is_read(browser, address, tmp_path):
    with opened(browser, address, viewport=WIDE, color_scheme="light") as page:
        pressed = 0
        while page.evaluate("document.activeElement.id") != "power":
            page.keyboard.press("Tab")
            pressed += 1
            assert pressed < 20
        page.keyboard.press("Enter")
        page.locator("#record:focus").wait_for()
        assert page.evaluate("document.getElementById('preview').videoWidth") > 0
        page.keyboard.press("Enter")
        page.locator("#clock", has_text="2 of").wait_for()
        page.screenshot(path=tmp_path / "recording.png", full_page=True)
        page.keyboard.press("Enter")
        row = page.locator("#clips tr")
        row.locator("td.value").first.wait_for()
        assert row.locator("th a").inner_text() == "recording 1.webm"
        assert "no words" in row.locator("th .remarks").inner_text()
        values = intensities(row)
        assert len(values) == len(NAMES)
        assert all(0 < value < 1 for value in values)
        assert page.locator("#status").inner_text() == "recording 1.webm is done."
        while page.evaluate("document.activeElement.textContent") != "recording 1.webm":
            page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        page.locator("#page-title:focus").wait_for()
        shown = page.frame_locator("#frame")
        assert shown.locator("h1").inner_text() == "clip recording 1.webm"
        faces = shown.locator(".strip figure:not(.faded)")
        assert faces.count() > 0  # the drawn face was found in what the browser recorded
        assert shown.locator("text=No pictures").count() == 0
        page.screenshot(path=tmp_path / "recorded.png", full_page=True)
        with page.expect_download() as saved:
            page.click("#recording")
        assert saved.value.suggested_filename == "recording 1.webm"
        page.click("#power")
        assert page.locator("#preview").is_hidden()


def test_several_files_are_compared_saved_and_removed(browser, address, drawn, tmp_path):
    frames, sound = drawn
    for name, part in (("a.mp4", slice(None)), ("b.mp4", slice(None, None, -1))):
        write_mp4(tmp_path / name, frames[part], sound if name == "a.mp4" else None, FPS, RATE)
    (tmp_path / "c.mp4").write_bytes(b"nothing of the kind")
    with opened(browser, address, viewport=NARROW, color_scheme="dark", accept_downloads=True) as page:
        page.fill("#words", "so funny")
        files = [tmp_path / name for name in ("a.mp4", "b.mp4", "c.mp4")]
        page.set_input_files("#files", files)
        assert page.locator("#status").inner_text() == "The words are those of one clip: add it alone, or clear them."
        page.fill("#words", "")
        page.set_input_files("#files", files)
        rows = {name: page.locator("#clips tr", has_text=name) for name in ("a.mp4", "b.mp4", "c.mp4")}
        for name in ("a.mp4", "b.mp4"):
            rows[name].locator("td.value").first.wait_for()
        failed = rows["c.mp4"].locator("td.failed")
        failed.wait_for()
        assert failed.inner_text().startswith("not a readable media file")
        assert intensities(rows["a.mp4"]) != intensities(rows["b.mp4"])
        assert overflow(page) == 0
        for scheme, paper in (("light", "rgb(255, 255, 255)"), ("dark", "rgb(13, 17, 23)")):
            page.emulate_media(color_scheme=scheme)
            assert page.evaluate("getComputedStyle(document.body).backgroundColor") == paper
            page.screenshot(path=tmp_path / f"compared-{scheme}.png", full_page=True)
        page.set_viewport_size({"width": 760, "height": 900})
        assert overflow(page) == 0
        page.screenshot(path=tmp_path / "between.png", full_page=True)
        with page.expect_download() as table:
            page.click("text=CSV")
        saved = list(csv.reader(table.value.path().read_text().splitlines()))
        assert saved[0] == ["Filename", *NAMES]
        found = {name: [float(value) for value in values] for name, *values in saved[1:]}
        assert found["a.mp4"] == pytest.approx(intensities(rows["a.mp4"]), abs=5e-4)
        with page.expect_download() as facts:
            page.click("text=JSON")
        assert {"a.mp4", "b.mp4"} <= {clip["id"] for clip in json.loads(facts.value.path().read_text())}
        rows["a.mp4"].locator("a").click()
        shown = page.frame_locator("#frame")
        shown.locator("summary").click()
        shown.locator("details table").wait_for()
        page.wait_for_timeout(200)
        assert overflow(page) == 0
        hidden = "root => root.scrollHeight - root.clientHeight"
        assert shown.locator("html").evaluate(hidden) == 0  # the frame has grown with its page
        page.screenshot(path=tmp_path / "page.png", full_page=True)
        rows["a.mp4"].locator("button").click()
        page.locator("#page").wait_for(state="hidden")
        assert page.locator("#status").inner_text() == "a.mp4 is removed."
        page.reload()
        rows["b.mp4"].locator("td.value").first.wait_for()
        assert rows["a.mp4"].count() == 0


def test_files_are_dropped_anywhere_on_the_page(browser, address, drawn, tmp_path):
    write_mp4(tmp_path / "dropped.mp4", drawn[0][:10], None, FPS, RATE)
    drop = """content => {
        const data = new DataTransfer();
        data.items.add(new File([new Uint8Array(content)], "dropped.mp4"));
        for (const kind of ["dragover", "drop"])
            document.body.dispatchEvent(new DragEvent(kind, { dataTransfer: data, bubbles: true, cancelable: true }));
    }"""
    with opened(browser, address, viewport=WIDE, color_scheme="dark") as page:
        page.evaluate(drop, list((tmp_path / "dropped.mp4").read_bytes()))
        page.screenshot(path=tmp_path / "progress.png", full_page=True)
        page.locator("#clips tr", has_text="dropped.mp4").locator("td.value").first.wait_for()
        page.screenshot(path=tmp_path / "dropped.png", full_page=True)
