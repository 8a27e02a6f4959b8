"""A stand-in of the Hugging Face hub on loopback: the routes that its client uses for a model repository."""

import base64
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha1, sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import unquote, urlsplit


@contextmanager
def serving(monkeypatch: Any) -> Iterator["Hub"]:
    """The stand-in in place of the hub, for this process."""
    from huggingface_hub import constants

    with Hub() as hub:
        # As HF_ENDPOINT sets it, which the client reads once, at its import.
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        address = f"{hub.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # Plain uploads, which the stand-in takes.
        monkeypatch.setenv("HF_TOKEN", "hf_none")
        yield hub


class Hub:
    """Repositories, each a list of commits; a commit is the bytes of every file by its path."""

    def __init__(self) -> None:
        self.repos: dict[str, list[tuple[str, dict[str, bytes]]]] = {}
        self.private: dict[str, bool] = {}
        self.blobs: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.sizes: dict[str, int] = {}
        """Sizes that the hub says, where they are not the true ones."""
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                hub.answer(self, "GET")

            def do_HEAD(self) -> None:
                hub.answer(self, "HEAD")

            def do_POST(self) -> None:
                hub.answer(self, "POST")

            def do_PUT(self) -> None:
                hub.answer(self, "PUT")

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def commit(self, repo: str, files: dict[str, bytes]) -> str:
        """A new commit with just these files; its hash."""
        commits = self.repos.setdefault(repo, [])
        name = sha1(json.dumps([len(commits), sorted(files)]).encode(), usedforsecurity=False).hexdigest()
        commits.append((name, files))
        return name

    def _at(self, repo: str, revision: str) -> tuple[str, dict[str, bytes]] | None:
        commits = self.repos.get(repo, [])
        if revision in ("main", "HEAD"):
            return commits[-1] if commits else ("0" * 40, {})
        return next((one for one in commits if one[0] == revision), None)

    # --- the routes -----------------------------------------------------------------------------------

    def answer(self, handler: Any, method: str) -> None:
        path = unquote(urlsplit(handler.path).path)
        self.asked.append(f"{method} {path}")
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        for kind, pattern, route in self._routes():
            if kind == method and (found := re.fullmatch(pattern, path)):
                route(handler, body, *found.groups())
                return
        self._send(handler, 404, {"error": f"no route {method} {path}"})

    def _routes(self) -> list[tuple[str, str, Any]]:
        repo = r"([^/]+/[^/]+)"
        return [
            ("GET", rf"/api/models/{repo}", self._info),
            ("GET", rf"/api/models/{repo}/revision/(.+)", self._info),
            ("GET", rf"/{repo}/resolve/([^/]+)/(.+)", self._file),
            ("HEAD", rf"/{repo}/resolve/([^/]+)/(.+)", self._file),
            ("POST", r"/api/repos/create", self._create),
            ("POST", r"/api/validate-yaml", lambda h, *_: self._send(h, 200, {"errors": [], "warnings": []})),
            ("POST", rf"/api/models/{repo}/preupload/.+", self._preupload),
            ("POST", rf"/{repo}\.git/info/lfs/objects/batch", self._batch),
            ("PUT", r"/blobs/(\w+)", self._blob),
            ("POST", rf"/api/models/{repo}/commit/.+", self._commit),
        ]

    def _info(self, handler: Any, body: bytes, repo: str, revision: str = "main") -> None:
        if repo not in self.repos:
            self._send(handler, 404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
        elif (at := self._at(repo, revision)) is None:
            self._send(handler, 404, {"error": "Revision not found"}, {"X-Error-Code": "RevisionNotFound"})
        else:
            siblings = [
                {"rfilename": path, "size": self.sizes.get(path, len(data))} for path, data in at[1].items()
            ]
            self._send(handler, 200, {"id": repo, "modelId": repo, "sha": at[0], "siblings": siblings})

    def _file(self, handler: Any, body: bytes, repo: str, revision: str, path: str) -> None:
        at = self._at(repo, revision)
        if at is None or path not in at[1]:
            self._send(handler, 404, {"error": "Entry not found"}, {"X-Error-Code": "EntryNotFound"})
            return
        data = at[1][path]
        etag = sha256(data).hexdigest()
        self._send(handler, 200, data, {"ETag": f'"{etag}"', "X-Repo-Commit": at[0]})

    def _create(self, handler: Any, body: bytes) -> None:
        asked = json.loads(body)
        repo = f"{asked['organization']}/{asked['name']}" if asked.get("organization") else asked["name"]
        status = 409 if repo in self.repos else 200
        self.repos.setdefault(repo, [])
        self.private.setdefault(repo, asked.get("visibility") == "private" or bool(asked.get("private")))
        self._send(handler, status, {"url": f"{self.url}/{repo}", "name": repo, "id": repo})

    def _preupload(self, handler: Any, body: bytes, repo: str) -> None:
        files = [
            {
                "path": one["path"],
                "uploadMode": "lfs" if one["path"].endswith(".safetensors") else "regular",
                "shouldIgnore": False,
                "oid": None,
            }
            for one in json.loads(body)["files"]
        ]
        self._send(handler, 200, {"files": files})

    def _batch(self, handler: Any, body: bytes, repo: str) -> None:
        objects = [
            {**one, "actions": {"upload": {"href": f"{self.url}/blobs/{one['oid']}"}}}
            for one in json.loads(body)["objects"]
        ]
        self._send(handler, 200, {"transfer": "basic", "objects": objects})

    def _blob(self, handler: Any, body: bytes, oid: str) -> None:
        self.blobs[oid] = body
        self._send(handler, 200, b"")

    def _commit(self, handler: Any, body: bytes, repo: str) -> None:
        files = dict((self._at(repo, "main") or ("", {}))[1])
        for line in body.splitlines():
            one = json.loads(line)
            value = one["value"]
            if one["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif one["key"] == "lfsFile":
                files[value["path"]] = self.blobs[value["oid"]]
            elif one["key"] == "deletedFile":
                del files[value["path"]]
        name = self.commit(repo, files)
        told = {"commitUrl": f"{self.url}/{repo}/commit/{name}", "commitOid": name, "success": True}
        self._send(handler, 200, told)

    @staticmethod
    def _send(handler: Any, status: int, value: Any, headers: dict[str, str] | None = None) -> None:
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        handler.send_response(status)
        for key, text in (headers or {}).items():
            handler.send_header(key, text)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(data)
