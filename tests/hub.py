"""A stand-in for the Hugging Face hub: an HTTP server of repositories whose revisions are local folders."""

import base64
import hashlib
import http.server
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

from huggingface_hub import constants


@contextmanager
def serve(
    revisions: Mapping[tuple[str, str], tuple[str, Path]], uploads: Path | None = None
) -> Iterator[tuple[str, list[str]]]:
    """Serves `(repository, revision) -> (commit, folder)`; gives the server's address and the paths of all requests.

    Repositories are created, and files uploaded, into new folders in `uploads`.
    """
    revisions = dict(revisions)
    folders = {(repository, commit): folder for (repository, _), (commit, folder) in revisions.items()}
    requests: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requests.append(self.path)
            parts = [unquote(part) for part in urlsplit(self.path).path.strip("/").split("/")]
            if parts[:2] == ["api", "models"] and len(parts) > 5:
                repository, what, revision = "/".join(parts[2:4]), parts[4], parts[5]
                if what == "revision" and (repository, revision) in revisions:
                    commit, _ = revisions[repository, revision]
                    self._send({"id": repository, "sha": commit, "siblings": []})
                elif what == "tree" and (repository, revision) in folders:
                    folder = folders[repository, revision]
                    files = sorted(path for path in folder.rglob("*") if path.is_file())
                    names = {path: str(path.relative_to(folder)) for path in files}
                    self._send(
                        [{"type": "file", "path": n, "size": f.stat().st_size, "oid": n} for f, n in names.items()]
                    )
                else:
                    self._send({"error": "Revision not found"}, 404, {"X-Error-Code": "RevisionNotFound"})
            elif parts[2:3] == ["resolve"]:
                repository, commit, name = "/".join(parts[:2]), parts[3], "/".join(parts[4:])
                content = (folders[repository, commit] / name).read_bytes()
                tag = hashlib.sha256(f"{commit} {name}".encode()).hexdigest()
                self._send(content, headers={"ETag": f'"{tag}"', "X-Repo-Commit": commit})
            else:
                self._send({}, 404)

        do_HEAD = do_GET  # noqa: N815

        def do_POST(self) -> None:
            requests.append(self.path)
            body = self.rfile.read(int(self.headers["Content-Length"]))
            parts = [unquote(part) for part in urlsplit(self.path).path.strip("/").split("/")]
            if self.headers.get("Authorization") != "Bearer valid" or uploads is None:
                self._send({"error": "Invalid credentials"}, 401)
            elif parts == ["api", "repos", "create"]:
                given = json.loads(body)
                requests.append(f"visibility={given.get('visibility')}")
                self._send({"url": f"{address}/{given.get('organization', 'me')}/{given['name']}"})
            elif parts == ["api", "validate-yaml"]:
                self._send({"errors": [], "warnings": []})
            elif parts[4] == "preupload":
                files = [
                    {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                    for file in json.loads(body)["files"]
                ]
                self._send({"files": files})
            else:
                repository, commit = "/".join(parts[2:4]), hashlib.sha1(body).hexdigest()
                for line in map(json.loads, body.splitlines()):
                    if line["key"] == "file":
                        path = uploads / commit / line["value"]["path"]
                        path.parent.mkdir(parents=True, exist_ok=True)
                        path.write_bytes(base64.b64decode(line["value"]["content"]))
                revisions[repository, "main"] = revisions[repository, commit] = commit, uploads / commit
                folders[repository, commit] = uploads / commit
                self._send(
                    {"commitUrl": f"{address}/{repository}/commit/{commit}", "commitOid": commit, "success": True}
                )

        def _send(self, content: object, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
            body = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield address, requests
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def point_at(address: str, cache: Path, monkeypatch) -> None:
    """Makes `huggingface_hub` use the server at an address in place of the hub, and a cache of its own."""
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
