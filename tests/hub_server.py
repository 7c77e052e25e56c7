"""A small Hub on this machine: what `huggingface_hub` and `datasets` call to publish and to load, over real HTTP.

    with HubServer() as hub:
        subprocess.run([...], env=hub.environment(tmp_path / "home"))

Repositories of every type live in memory, each commit a complete list of files. The clients have to run in a process
of their own, since they read `HF_ENDPOINT` when they are imported, or within `spoken_to`. `hub.failures["/commit/"]`
makes the calls whose path contains the key fail until the entry is removed: a status, or `Failure` for a connection
that breaks in the middle, or for some of the calls only. `hub.calls` lists what was asked.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import re
import socket
import struct
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

TOKEN = "hf_dummy"
_LFS = (".parquet", ".safetensors", ".bin", ".png", ".zip")
_TYPES = {"models": "model", "datasets": "dataset", "spaces": "space"}


@dataclass
class Failure:
    """How calls fail.

    Attributes:
        status: Of the answer; 0 breaks the connection after half of what the client sends, or of the answer's body.
        after: So many calls are answered as usual before.
        times: So many calls fail, then all is well again.
        late: The call is carried out first; the client only does not hear of it.
    """

    status: int = 0
    after: int = 0
    times: int = 1_000
    late: bool = False

    def strikes(self) -> bool:
        """Whether this call fails."""
        if self.after > 0:
            self.after -= 1
            return False
        self.times -= 1
        return self.times >= 0


@dataclass
class Repository:
    """Files by commit; the first commit is empty but for .gitattributes, as on the Hub."""

    private: bool = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)

    def commit(self, files: dict[str, bytes], message: str) -> str:
        sha = hashlib.sha1(f"{len(self.commits)}{message}{sorted(files)}".encode()).hexdigest()
        self.commits[sha] = files
        self.messages.append(message)
        return sha

    @property
    def head(self) -> str:
        return next(reversed(self.commits))

    def files(self, revision: str = "main") -> dict[str, bytes]:
        return self.commits[self.head if revision in ("main", "HEAD") else revision]


class HubServer:
    """The server, in a thread from `with` to its end.

    Attributes:
        url: What `HF_ENDPOINT` has to be.
        repositories: By (type, id), for example ("dataset", "org/name").
        objects: Large files by SHA-256, whether or not a commit uses them.
        failures: Part of a path -> status, or more; see `Failure`.
        calls: "METHOD path" of every request.
    """

    def __init__(self) -> None:
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.objects: dict[str, bytes] = {}
        self.failures: dict[str, int | Failure] = {}
        self.calls: list[str] = []
        self.lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"hub": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> HubServer:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def environment(self, home: Path, token: str = TOKEN) -> dict[str, str]:
        """Environment variables of a process that knows this Hub only and keeps its cache below `home`."""
        offline = {name: "0" for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "HF_EVALUATE_OFFLINE")}
        own = {"HF_ENDPOINT": self.url, "HF_HOME": str(home), "HF_TOKEN": token, "HF_HUB_DISABLE_XET": "1"}
        quiet = {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "NO_PROXY": "127.0.0.1"}
        return {**os.environ, **offline, **own, **quiet}


class _Answer(Exception):
    """What ends a request other than by success."""

    def __init__(self, status: int, code: str = "", message: str = "") -> None:
        self.status, self.code, self.message = status, code, message


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: HubServer

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._serve()

    do_HEAD = do_POST = do_PUT = do_GET

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        self.query, path = parse_qs(parts.query), unquote(parts.path)
        self.broken = False
        length = int(self.headers.get("Content-Length") or 0)
        with self.hub.lock:
            self.hub.calls.append(f"{self.command} {path}")
            kinds = [kind for part, kind in self.hub.failures.items() if part in path]
            kinds = [kind if isinstance(kind, Failure) else Failure(kind) for kind in kinds]
            failure = next((kind for kind in kinds if kind.strikes()), None)
            cut = failure is not None and failure.status == 0
            if cut and length and not failure.late:
                self.rfile.read(length // 2)
                return self._hang_up()
            self.body = self.rfile.read(length)
            try:
                if failure is not None and not cut:
                    raise _Answer(failure.status, message="it was told to fail")
                self.broken = cut
                self._route(path)
            except _Answer as answer:
                self._send(answer.status, {"error": answer.message}, code=answer.code, message=answer.message)

    def _hang_up(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):  # whatever the client sends on is answered by a reset
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def _route(self, path: str) -> None:
        for pattern, method in (
            (r"/api/whoami-v2", self._whoami),
            (r"/api/repos/create", self._create),
            (r"/api/validate-yaml", self._validate),
            (r"/api/(models|datasets|spaces)/([^/]+/[^/]+?)(?:/revision/(.+))?", self._info),
            (r"/api/(models|datasets|spaces)/([^/]+/[^/]+)/tree/([^/]+)(?:/(.+))?", self._tree),
            (r"/api/(models|datasets|spaces)/([^/]+/[^/]+)/paths-info/([^/]+)", self._paths),
            (r"/api/(models|datasets|spaces)/([^/]+/[^/]+)/preupload/([^/]+)", self._preupload),
            (r"/api/(models|datasets|spaces)/([^/]+/[^/]+)/commit/([^/]+)", self._commit),
            (r"/(?:(datasets|spaces)/)?([^/]+/[^/]+)\.git/info/lfs/objects/batch", self._batch),
            (r"/lfs/([0-9a-f]{64})", self._store),
            (r"/(?:(datasets|spaces)/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)", self._resolve),
        ):
            found = re.fullmatch(pattern, path)
            if found:
                return method(*found.groups())
        raise _Answer(404, message=f"this Hub has no {path}")

    # What is asked of a repository

    def _may_write(self) -> None:
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            raise _Answer(401, message="Invalid credentials in Authorization header")

    def _repository(self, kind: str | None, name: str, revision: str | None = None) -> Repository:
        repository = self.hub.repositories.get((_TYPES[kind or "models"], name))
        if repository is None or (repository.private and self.headers.get("Authorization") != f"Bearer {TOKEN}"):
            raise _Answer(404, "RepoNotFound", "Repository not found")
        if revision not in (None, "main", "HEAD") and revision not in repository.commits:
            raise _Answer(404, "RevisionNotFound", "Revision not found")
        return repository

    def _whoami(self) -> None:
        self._may_write()
        self._send(200, {"type": "user", "name": "org", "orgs": []})

    def _create(self) -> None:
        self._may_write()
        asked = json.loads(self.body)
        kind, name = asked.get("type") or "model", f"{asked.get('organization') or 'org'}/{asked['name']}"
        prefix = "" if kind == "model" else f"{kind}s/"
        answer = {"url": f"{self.hub.url}/{prefix}{name}", "name": name}
        if (kind, name) in self.hub.repositories:
            return self._send(409, {"error": "You already created this repo", **answer})
        repository = Repository(asked.get("visibility") == "private" or bool(asked.get("private")))
        repository.commit({".gitattributes": b""}, "initial commit")
        self.hub.repositories[kind, name] = repository
        self._send(200, answer)

    def _validate(self) -> None:
        text = json.loads(self.body)["content"]
        found = re.match(r"---\n(.*?)\n---\n", text, flags=re.DOTALL)
        try:
            errors = [] if found and isinstance(yaml.safe_load(found[1]), dict) else ["no metadata"]
        except yaml.YAMLError as error:
            errors = [str(error)]
        self._send(400 if errors else 200, {"errors": [{"message": text} for text in errors], "warnings": []})

    def _info(self, kind: str, name: str, revision: str | None) -> None:
        repository = self._repository(kind, name, revision)
        sha = repository.head if revision in (None, "main", "HEAD") else revision
        names = [{"rfilename": path} for path in sorted(repository.files(sha))]
        self._send(200, {"id": name, "sha": sha, "private": repository.private, "siblings": names, "tags": []})

    def _tree(self, kind: str, name: str, revision: str, folder: str | None) -> None:
        files = self._repository(kind, name, revision).files(revision)
        start = f"{folder}/" if folder else ""
        deep = self.query.get("recursive", ["false"])[0].lower() in ("true", "1")
        entries: dict[str, Any] = {}
        for path in sorted(path for path in files if path.startswith(start)):
            below = path[len(start) :].split("/")
            for depth in range(1, len(below)):
                if deep or depth == 1:
                    parent = start + "/".join(below[:depth])
                    entries[parent] = {"type": "directory", "path": parent, "oid": _sha1(parent.encode()), "size": 0}
            if deep or len(below) == 1:
                entries[path] = _entry(path, files[path])
        if folder and not entries:
            raise _Answer(404, "EntryNotFound", "Entry not found")
        self._send(200, list(entries.values()))

    def _paths(self, kind: str, name: str, revision: str) -> None:
        files = self._repository(kind, name, revision).files(revision)
        if self.headers.get("Content-Type", "").startswith("application/json"):
            asked = json.loads(self.body)["paths"]
        else:
            asked = parse_qs(self.body.decode()).get("paths", [])
        found = [_entry(path, files[path]) for path in asked if path in files]
        folders = [path for path in asked if any(file.startswith(f"{path}/") for file in files)]
        found += [{"type": "directory", "path": path, "oid": _sha1(path.encode()), "size": 0} for path in folders]
        self._send(200, found)

    def _preupload(self, kind: str, name: str, revision: str) -> None:
        self._may_write()
        files = self._repository(kind, name).files(revision)
        answer = []
        for file in json.loads(self.body)["files"]:
            path, content = file["path"], files.get(file["path"])
            mode = "lfs" if path.endswith(_LFS) else "regular"
            oid = None if content is None else _oid(path, content)
            answer.append({"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        self._send(200, {"files": answer})

    def _batch(self, kind: str | None, name: str) -> None:
        self._may_write()
        self._repository(kind, name)
        objects = []
        for item in json.loads(self.body)["objects"]:
            wanted = {"oid": item["oid"], "size": item["size"]}
            if item["oid"] not in self.hub.objects:
                wanted["actions"] = {"upload": {"href": f"{self.hub.url}/lfs/{item['oid']}", "header": {}}}
            objects.append(wanted)
        self._send(200, {"transfer": "basic", "objects": objects})

    def _store(self, oid: str) -> None:
        if hashlib.sha256(self.body).hexdigest() != oid:
            raise _Answer(400, message="the content is not what was announced")
        self.hub.objects[oid] = self.body
        self._send(200, {})

    def _commit(self, kind: str, name: str, revision: str) -> None:
        self._may_write()
        repository = self._repository(kind, name)
        files, message = dict(repository.files(revision)), ""
        for line in self.body.splitlines():
            operation = json.loads(line)
            value, path = operation["value"], operation["value"].get("path", "")
            if operation["key"] == "header":
                message = value["summary"]
                if value.get("parentCommit") not in (None, repository.head):
                    raise _Answer(412, message="A commit has happened since")
            elif operation["key"] == "file":
                files[path] = base64.b64decode(value["content"])
            elif operation["key"] == "lfsFile":
                if value["oid"] not in self.hub.objects:
                    raise _Answer(400, message=f"{path} was not uploaded")
                files[path] = self.hub.objects[value["oid"]]
            elif operation["key"] == "deletedFile":
                if files.pop(path, None) is None:
                    raise _Answer(404, "EntryNotFound", "A file with this name doesn't exist")
            elif operation["key"] == "deletedFolder":
                files = {
                    name: content for name, content in files.items() if not name.startswith(path.rstrip("/") + "/")
                }
        sha = repository.commit(files, message)
        self._send(200, {"commitUrl": f"{self.hub.url}/{kind}/{name}/commit/{sha}", "commitOid": sha, "success": True})

    def _resolve(self, kind: str | None, name: str, revision: str, path: str) -> None:
        repository = self._repository(kind, name, revision)
        sha = repository.head if revision in ("main", "HEAD") else revision
        content = repository.files(revision).get(path)
        if content is None:
            self._send(404, {"error": "Entry not found"}, {"X-Repo-Commit": sha}, code="EntryNotFound")
            return
        headers = {"X-Repo-Commit": sha, "ETag": f'"{_oid(path, content)}"', "Accept-Ranges": "bytes"}
        span = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if not span:
            return self._send(200, content, headers)
        first, last = int(span[1]), min(int(span[2] or len(content)), len(content) - 1)
        if first > last:
            raise _Answer(416)
        headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
        self._send(206, content[first : last + 1], headers)

    def _send(
        self, status: int, body: Any, headers: dict[str, str] | None = None, code: str = "", message: str = ""
    ) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Content-Type", "application/octet-stream" if isinstance(body, bytes) else "application/json")
        told = {"X-Error-Code": code, "X-Error-Message": message, "X-Request-Id": "0"}
        for name, value in {**{name: value for name, value in told.items() if value}, **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.broken:
            self.wfile.write(content[: len(content) // 2])
            self.wfile.flush()
            self._hang_up()
        elif self.command != "HEAD":
            self.wfile.write(content)


def _sha1(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _oid(path: str, content: bytes) -> str:
    """By what the clients know a file: SHA-256 of large files, git's hash of others."""
    return hashlib.sha256(content).hexdigest() if path.endswith(_LFS) else _sha1(content)


def _entry(path: str, content: bytes) -> dict[str, Any]:
    entry: dict[str, Any] = {"type": "file", "path": path, "size": len(content), "oid": _sha1(content)}
    if path.endswith(_LFS):
        entry["lfs"] = {"oid": _oid(path, content), "size": len(content), "pointerSize": 130}
    return entry
