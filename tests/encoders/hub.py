"""A stand-in for the Hugging Face hub: an HTTP server of repositories whose revisions are local folders."""

import http.server
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit


@contextmanager
def serve(revisions: Mapping[tuple[str, str], tuple[str, Path]]) -> Iterator[tuple[str, list[str]]]:
    """Serves `(repository, revision) -> (commit, folder)`; gives the server's address and the paths of all requests."""
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
                    files = sorted(folders[repository, revision].iterdir())
                    self._send(
                        [{"type": "file", "path": f.name, "size": f.stat().st_size, "oid": f.name} for f in files]
                    )
                else:
                    self._send({"error": "Revision not found"}, 404, {"X-Error-Code": "RevisionNotFound"})
            elif parts[2:3] == ["resolve"]:
                repository, commit = "/".join(parts[:2]), parts[3]
                file = folders[repository, commit] / parts[4]
                self._send(file.read_bytes(), headers={"ETag": f'"{commit}-{file.name}"', "X-Repo-Commit": commit})
            else:
                self._send({}, 404)

        do_HEAD = do_GET  # noqa: N815

        def _send(self, content: object, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
            body = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", requests
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
