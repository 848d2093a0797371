"""What the page lets in, its limits, and what it keeps."""

import errno
import html
import json
import re
import threading

import anyio
import pytest
from starlette.testclient import TestClient

from emi_jax.serve import app as app_module
from emi_jax.serve import clips as clips_module
from emi_jax.serve.app import build_app
from emi_jax.serve.clips import State
from tests.fakes import NAMES
from tests.serve.fakes import FACTS, HOST, LIMITS, ORIGIN, PORT, TOKEN, finish, send, sound


def post(app, messages):
    """What the application answers to a body that comes in parts; None as a part never comes."""
    waiting = iter(messages)
    answer = []

    async def receive():
        if (message := next(waiting)) is None:
            await anyio.sleep(60)
        return message

    async def collect(message):
        answer.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": f"/{TOKEN}/clips",
        "raw_path": b"",
        "root_path": "",
        "query_string": b"name=a.wav",
        "headers": [(b"host", HOST.encode()), (b"origin", f"http://{HOST}".encode())],
    }
    anyio.run(app, scope, receive, collect)
    return answer[0]["status"], json.loads(answer[1]["body"])


def part(body, more=True):
    return {"type": "http.request", "body": body, "more_body": more}


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8123", "127.0.0.1.evil.example", "[::1]:8123", ""])
def test_a_name_that_points_to_this_computer_is_refused(client, host):
    assert client.get(f"/{TOKEN}/", headers={"host": host}).status_code == 400
    assert client.get(f"/{TOKEN}/", headers={"host": "localhost:8123"}).status_code == 200


@pytest.mark.parametrize("path", ["", "clips", "clips/1", "predictions.csv", "predictions.json"])
def test_nothing_is_answered_without_the_token(client, path):
    for token in ("", "s3cre", "s3cret2", "%00", "\N{SNOWMAN}"):
        answer = client.get(f"/{token}/{path}")
        assert answer.status_code == 404
        assert answer.json() == {"error": "open the address that the program printed when it was started last"}


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": "null"},
        {"origin": "https://evil.example"},
        {"origin": "http://127.0.0.1:8124"},  # another program on this computer
        {"origin": f"https://{HOST}"},
        {**ORIGIN, "sec-fetch-site": "same-site"},
        {**ORIGIN, "sec-fetch-site": "cross-site"},
    ],
)
def test_only_the_page_itself_may_send_or_remove_clips(client, clips, headers):
    assert send(client, sound()).status_code == 201
    assert client.post(f"/{TOKEN}/clips", content=sound(), headers=headers).status_code == 403
    assert client.delete(f"/{TOKEN}/clips/1", headers=headers).status_code == 403
    assert [clip.number for clip in clips] == ["1"]
    assert client.delete(f"/{TOKEN}/clips/1", headers={**ORIGIN, "sec-fetch-site": "same-origin"}).status_code == 204
    assert not list(clips)


def test_the_page_runs_its_own_script_alone(client):
    first, second = client.get(f"/{TOKEN}/"), client.get(f"/{TOKEN}/")
    policy = dict(part.strip().split(" ", 1) for part in first.headers["content-security-policy"].split(";"))
    (nonce,) = re.findall(r"'nonce-([\w-]{20,})'", policy["script-src"])
    assert nonce not in second.text
    assert policy["default-src"] == policy["base-uri"] == policy["form-action"] == policy["frame-ancestors"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == f"'nonce-{nonce}'"
    assert policy["connect-src"] == "'self'"
    assert re.findall(r"<(?:script|style)[^>]*?nonce=\"([\w-]+)\"", first.text) == [nonce, nonce]
    assert len(re.findall(r"<(?:script|style|link)\b", first.text)) == 3  # and the empty icon
    assert not re.findall(r"(?:src|href)=\"(?!data:,|predictions\.)", first.text)
    for name, value in {
        "cache-control": "no-store",
        "cross-origin-resource-policy": "same-origin",
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff",
    }.items():
        assert first.headers[name] == client.get("/nowhere").headers[name] == value


def test_labels_are_shown_as_text(clips):
    hostile = "</script><script>alert('\"')</script>"
    app = build_app(clips, FACTS | {"label_names": (hostile,)}, TOKEN, PORT, LIMITS)
    with TestClient(app, base_url=f"http://{HOST}") as client:
        text = client.get(f"/{TOKEN}/").text
    assert text.count("<script") == 1
    assert "<script>" not in text
    (facts,) = re.findall(r'data-facts="([^"]*)"', text)
    assert json.loads(html.unescape(facts))["labels"] == [hostile]


def test_a_clip_is_read_predicted_and_shown_and_its_file_is_deleted(client, clips, tmp_path):
    answer = send(client, sound(), "50% <b>.wav")
    assert answer.status_code == 201
    assert answer.json()["name"] == "50% <b>.wav"
    finish(clips)
    (listed,) = client.get(f"/{TOKEN}/clips").json()
    assert (listed["number"], listed["state"], listed["reason"]) == ("1", "done", "")
    assert listed["intensities"] == pytest.approx(dict(zip(NAMES, (0.1, 0.2, 0.3, 0.4, 0.5, 0.6), strict=True)))
    shown = client.get(f"/{TOKEN}/clips/1")
    assert "<h1>clip 50% &lt;b&gt;.wav</h1>" in shown.text
    assert "script-src" not in shown.headers["content-security-policy"]
    assert "default-src 'none'" in shown.headers["content-security-policy"]
    assert "frame-ancestors 'self'" in shown.headers["content-security-policy"]
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_too_large_is_refused_by_its_size_and_by_its_bytes(client, app, clips, tmp_path):
    answer = send(client, bytes(LIMITS.num_bytes + 1))
    assert (answer.status_code, answer.json()["error"]) == (413, "larger than 0 MB")
    status, _ = post(app, [part(bytes(60_000)), part(bytes(60_000)), None])
    assert status == 413
    assert not list(clips)
    assert not list(tmp_path.iterdir())


def test_a_file_that_does_not_arrive_leaves_nothing(app, client, clips, tmp_path):
    assert post(app, [part(bytes(10)), None]) == (408, {"error": "did not arrive within 0.5 s"})
    assert post(app, [part(bytes(10)), {"type": "http.disconnect"}])[0] == 400
    assert send(client, b"").json() == {"error": "the file is empty"}
    assert not list(clips)
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_a_sentence(client, clips, monkeypatch):
    async def refuse(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(app_module.anyio, "open_file", refuse)
    answer = send(client, sound())
    assert answer.status_code == 507
    assert answer.json()["error"].endswith("is full")
    assert not list(clips)


def test_a_full_list_is_a_sentence(client, clips, monkeypatch):
    monkeypatch.setattr(clips_module, "MOST_CLIPS", 1)
    assert send(client, sound()).status_code == 201
    answer = send(client, sound())
    assert answer.status_code == 409
    assert "save the results and remove some" in answer.json()["error"]


def test_a_file_waits_until_one_before_it_has_been_read(app, clips, monkeypatch):
    monkeypatch.setattr(clips_module, "MOST_FILES", 1)
    before = clips.add("before")
    timer = threading.Timer(0.3, lambda: setattr(before, "state", State.DONE))
    timer.start()
    status, _ = post(app, [part(sound(), more=False)])
    assert (status, before.state) == (201, State.DONE)
    timer.join()
