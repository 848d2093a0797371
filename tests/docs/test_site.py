"""The site is built without a warning, and its pages fetch nothing from elsewhere."""

import functools
import html
import os
import re
import subprocess
import sys
import threading
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.report.test_browser import CHROMIUM, needs_browser

pytest.importorskip("mkdocs")
ROOT = Path(__file__).parents[2]
LOADED = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src", "video": "src"}
"""The attribute that makes a browser fetch something, by tag."""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the site."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", f"--site-dir={folder}"]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    return folder


class Fetched(HTMLParser):
    """The addresses that a page loads."""

    def __init__(self):
        super().__init__()
        self.addresses = []

    def handle_starttag(self, tag, attrs):
        address = dict(attrs).get(LOADED.get(tag, ""))
        if address:
            self.addresses.append(address)


def test_pages_load_only_files_of_the_site(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 20
    for page in pages:
        parser = Fetched()
        parser.feed(page.read_text())
        for address in parser.addresses:
            assert not re.match(r"[a-z]+:|//", address), f"{page}: {address}"
            path = address.partition("#")[0].partition("?")[0]
            assert (site / path.lstrip("/") if path.startswith("/") else page.parent / path).exists(), address
    for style in site.rglob("*.css"):
        assert not re.search(r"url\(['\"]?(https?:|//)|@import", style.read_text()), style


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("index.html", "Emotional mimicry intensity in JAX/Flax"),
        ("tour.html", "predictor"),
        ("reference/predictor.html", 'id="emi_jax.runs.predictor.Predictor.load"'),
        ("reference/losses.html", 'id="emi_jax.losses.sigmoid_contrast"'),
        ("reference/commands.html", "<code>--label-range=LOW,HIGH</code>"),
        (
            "reference/commands.html",
            "<code>--mode={train,evaluate,predict,serve,extract,export}</code>",
        ),
        ("reference/stage2.html", "<code>tcn_dilations=(1, 2, 4, 8)</code>"),
        ("reference/studies.html", "<code>crossval.folds=5</code>"),
    ],
)
def test_pages_hold_what_they_are_made_from(page, text, site):
    assert text in html.unescape((site / page).read_text())


@needs_browser
def test_the_search_finds_a_function_and_nothing_is_fetched_from_elsewhere(site):
    sync_playwright = pytest.importorskip("playwright.sync_api").sync_playwright
    requests, messages = [], []

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

    with (
        ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site))) as server,
        sync_playwright() as playwright,
    ):
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 400, "height": 800})
        page.on("request", lambda request: requests.append(request.url))
        page.on("console", lambda message: messages.append(message.text))
        page.goto(f"{address}/reference/losses.html?q=sigmoid_contrast")
        page.locator(".md-search-result__item a").first.wait_for(state="attached")
        found = [link.get_attribute("href") for link in page.locator(".md-search-result__item a").all()]
        assert page.evaluate("document.documentElement.scrollWidth") <= 400
        browser.close()
        server.shutdown()
    assert any("losses.html" in link and "emi_jax.losses.sigmoid_contrast" in link for link in found)
    assert [url for url in requests if not url.startswith((address, "data:", "blob:"))] == []
    assert messages == []
