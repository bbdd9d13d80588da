"""The small Hub's other half: repositories are made on it and folders sent to it, as ``huggingface_hub`` does both without Xet.

Small files come in the commit itself, large ones by the LFS protocol: a batch that says where to, the upload, its verification.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from urllib.parse import parse_qs, unquote, urlsplit


class Receiver:
    """Beside ``do_GET``: what a client with a token that may write is answered. A commit holds the files of the one before it, too."""

    def do_PUT(self) -> None:
        data, oid = self._body(), urlsplit(self.path).path.rpartition("/")[2]
        whole = hashlib.sha256(data).hexdigest() == oid
        if whole:
            self.hub.received[oid] = data
        self._send(200 if whole else 400, b"", True)

    def do_POST(self) -> None:
        data, path = self._body(), unquote(urlsplit(self.path).path)
        self._fault = self.hub.fault(path)
        token = (self.headers.get("authorization") or "").removeprefix("Bearer ") or None
        if self._fault and self._fault.status:
            self._send(self._fault.status, b'{"error": "as the test wants it"}', True)
        elif path == "/api/validate-yaml":
            whole = re.match(r"(?s)---\n([a-z_]+: ?[^\n]*\n|- [^\n]+\n)+---\n", json.loads(data)["content"])
            wrong = [] if whole else [{"message": "The card's head is not YAML."}]
            self._send(400 if wrong else 200, json.dumps({"errors": wrong, "warnings": []}).encode(), True)
        elif token not in self.hub.writers:
            self._send(403 if token in self.hub.tokens else 401, b'{"error": "You may not write here"}', True)
        elif path == "/api/repos/create":
            self._create(json.loads(data), token)
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/preupload/(.+)", path):
            modes = [
                {"path": one["path"], "uploadMode": "lfs" if one["path"].endswith(".safetensors") and not self.hub.inline else "regular", "shouldIgnore": False}
                for one in json.loads(data)["files"]
            ]  # fmt: skip
            self._to(found[1], {"files": modes})
        elif found := re.fullmatch(r"/([^/]+/[^/]+)\.git/info/lfs/objects/batch", path):
            asked = json.loads(data)["objects"]
            places = [{**one, "actions": {"upload": {"href": f"{self.hub.address}/received/{one['oid']}"},
                                          "verify": {"href": f"{self.hub.address}/verified/{one['oid']}"}}} for one in asked]  # fmt: skip
            self._to(found[1], {"transfer": "basic", "objects": places})
        elif found := re.fullmatch(r"/verified/(\w+)", path):
            self._send(200 if found[1] in self.hub.received else 404, b"{}", True)
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/(.+)", path):
            self._commit_to(found[1], [json.loads(line) for line in data.splitlines()], "create_pr" in parse_qs(urlsplit(self.path).query))
        else:
            self._missing("EntryNotFound", True)

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("content-length") or 0))

    def _to(self, name: str, answer: dict) -> None:
        """The answer, if there is such a repository."""
        if ("models", name) in self.hub.repositories:
            self._json(answer, True)
        else:
            self._missing("RepoNotFound", True)

    def _create(self, asked: dict, token: str) -> None:
        name = f"{asked['organization']}/{asked['name']}"
        if ("models", name) in self.hub.repositories:
            self._send(409, json.dumps({"error": "You already created this", "url": f"{self.hub.address}/{name}"}).encode(), True)
        else:
            self.hub.put(name, {".gitattributes": b""}, token=token if asked.get("visibility") == "private" else None)
            self._json({"url": f"{self.hub.address}/{name}", "id": name}, True)

    def _commit_to(self, name: str, lines: list[dict], pull_request: bool) -> None:
        repository = self.hub.repositories.get(("models", name))
        if repository is None:
            self._missing("RepoNotFound", True)
            return
        files = dict(repository.commits[repository.revisions["main"]])
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.hub.received[value["oid"]]
        revision = "refs/pr/1" if pull_request else "main"
        commit = self.hub.put(name, files, revision)
        url = f"{self.hub.address}/{name}"
        told = {"commitUrl": f"{url}/commit/{commit}", "commitOid": commit} | ({"pullRequestUrl": f"{url}/discussions/1"} if pull_request else {})
        self._json(told, True)
