"""A stand-in for the Hugging Face Hub's HTTP API on this machine: repositories in memory, one commit each."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

MAY_WRITE = "Bearer may-write"


class StandInHub:
    """Repositories by kind and id, such as ``models/org/name``, and the requests so far."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.requests: list[str] = []

    def compute_commit(self, name: str) -> str:
        """Return the commit of a repository, which follows from its files."""
        files = self.repositories[name]
        content = b"".join(path.encode() + files[path] for path in sorted(files))
        return hashlib.sha1(content).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    hub: StandInHub

    def log_message(self, *arguments: object) -> None:
        pass

    def _answer(self, status: int, body: object = b"", **headers: str) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _split(self) -> list[str]:
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append(f"{self.command} {path}")
        return path.strip("/").split("/")

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        parts = self._split()
        if parts[0] == "api":  # api/models/org/name, .../revision/main, or .../tree/<commit>
            kind, name, file = parts[1], "/".join(parts[2:4]), ""
            what, revision = parts[4:6] or ("revision", "main")
        else:  # org/name/resolve/main/config.json, for datasets below datasets/
            kind = "datasets" if parts[0] == "datasets" else "models"
            parts = parts[1:] if kind == "datasets" else parts
            name, what, revision, file = "/".join(parts[:2]), parts[2], parts[3], "/".join(parts[4:])
        files = self.hub.repositories.get(f"{kind}/{name}")
        if files is None:
            return self._answer(401, X_Error_Code="RepoNotFound")
        commit = self.hub.compute_commit(f"{kind}/{name}")
        if revision not in ("main", commit):
            return self._answer(404, X_Error_Code="RevisionNotFound")
        if what == "revision":
            return self._answer(200, {"id": name, "sha": commit, "siblings": [{"rfilename": path} for path in files]})
        if what == "tree":
            rows = [
                {"type": "file", "path": path, "size": len(body), "oid": hashlib.sha1(body).hexdigest()}
                for path, body in files.items()
            ]
            return self._answer(200, rows)
        if file not in files:
            return self._answer(404, X_Error_Code="EntryNotFound", X_Repo_Commit=commit)
        etag = f'"{hashlib.sha1(files[file]).hexdigest()}"'
        return self._answer(200, files[file], ETag=etag, X_Repo_Commit=commit)

    def do_POST(self) -> None:
        parts = self._split()
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if parts[1] == "validate-yaml":
            return self._answer(200, {"errors": [], "warnings": []})
        if self.headers["Authorization"] != MAY_WRITE:
            return self._answer(403, {"error": "you may not write here"})
        if parts[1:3] == ["repos", "create"]:
            wanted = json.loads(body)
            name = f"{wanted['organization']}/{wanted['name']}"
            self.hub.repositories.setdefault(f"{wanted.get('type', 'model')}s/{name}", {})
            return self._answer(200, {"url": f"{self.hub.url}/{name}", "name": name, "id": name})
        if parts[4] == "preupload":
            rows = [
                {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                for file in json.loads(body)["files"]
            ]
            return self._answer(200, {"files": rows})
        name = "/".join(parts[1:4])  # api/models/org/name/commit/main
        files = self.hub.repositories[name]
        for line in map(json.loads, body.splitlines()):
            if line["key"] == "file":
                files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
        return self._answer(
            200, {"commitUrl": f"{self.hub.url}/{name.removeprefix('models/')}/commit/0", "commitOid": "0" * 40}
        )


@contextlib.contextmanager
def serve_hub() -> Iterator[StandInHub]:
    """Serve an empty hub on loopback."""
    handler = type("Handler", (_Handler,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    handler.hub = StandInHub(f"http://127.0.0.1:{server.server_port}")  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield handler.hub  # type: ignore[attr-defined]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
