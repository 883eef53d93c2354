"""A Hugging Face Hub for datasets and models on loopback, enough of one for `huggingface_hub` and
`datasets`.

Repositories, commits, tags, visibility, tokens, the legacy LFS protocol. Everything lies on disk, so that the
process can be killed and started again; every request is a line of `log.jsonl`. The Xet protocol is not
spoken: clients need HF_HUB_DISABLE_XET=1. `--die-after N` ends the process in the middle of the N+1st file
that is sent.
"""

import argparse
import base64
import hashlib
import json
import os
import random
import re
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlparse

TOKENS = {
    "hf_writesecret123": "write",
    "hf_readonlysecret": "read",
}  # both belong to "me", who is in "paqa-lab"
NAMESPACES = ("me", "paqa-lab")
BLOCK = 1 << 16
LOCK = threading.RLock()


def git_oid(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class Repos:
    """Repositories as `repos/ORG--NAME.json`, bytes as `blobs/OID` (SHA-256 for LFS, git's SHA-1
    otherwise).
    """

    def __init__(self, root):
        self.root = root
        for name in ("repos", "blobs"):
            (root / name).mkdir(parents=True, exist_ok=True)

    def path(self, name):
        return self.root / "repos" / f"{name.replace('/', '--')}.json"

    def load(self, name):
        return json.loads(self.path(name).read_text()) if self.path(name).exists() else None

    def save(self, name, repo):
        part = self.path(name).with_suffix(".part")
        part.write_text(json.dumps(repo))
        part.replace(self.path(name))

    def create(self, name, private):
        repo = {"private": private, "head": None, "commits": {}, "tags": {}}
        self.commit(name, repo, {}, "initial commit")

    def commit(self, name, repo, files, message):
        oid = hashlib.sha1(json.dumps([files, message, len(repo["commits"])]).encode()).hexdigest()
        repo["commits"][oid] = {"parent": repo["head"], "message": message, "files": files}
        repo["head"] = oid
        self.save(name, repo)
        return oid

    def blob(self, oid):
        return self.root / "blobs" / oid


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    repos: Repos
    die_after: int | None = None
    received = 0

    def log_message(self, *args):
        pass

    # --- plumbing ---

    def body(self):
        return b"".join(self.blocks())

    def blocks(self):
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            while size := int(self.rfile.readline().split(b";")[0], 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return
        left = int(self.headers.get("Content-Length", 0))
        while left:
            block = self.rfile.read(min(BLOCK, left))
            left -= len(block)
            yield block

    def reply(self, value=None, status=200, data=None, **headers):
        data = json.dumps(value).encode() if data is None else data
        self.send_response(status)
        for key, value in {
            "Content-Type": "application/json",
            "Content-Length": len(data),
            **headers,
        }.items():
            self.send_header(key.replace("_", "-"), str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def refuse(self, status, message, code=None):
        named = {"X_Error_Code": code} if code else {}
        self.reply({"error": message}, status, X_Error_Message=message, **named)

    def handle_all(self):
        url = urlparse(self.path)
        self.where, self.query = unquote(url.path), parse_qs(url.query)
        size = int(self.headers.get("Content-Length") or 0)
        with LOCK, (self.repos.root / "log.jsonl").open("a") as log:
            log.write(json.dumps({"method": self.command, "path": self.where, "bytes": size}) + "\n")
        given = self.headers.get("Authorization", "").removeprefix("Bearer ")
        self.role = TOKENS.get(given)
        if self.command == "PUT" and self.where.startswith("/lfs/"):
            return self.receive(self.where.removeprefix("/lfs/"))  # a signed address: it needs no token
        self.content = self.body()
        if given and not self.role:
            return self.refuse(401, "Invalid credentials in Authorization header")
        for pattern, action in ROUTES:
            if match := re.fullmatch(pattern, self.where):
                return action(self, *match.groups())
        return self.refuse(404, f"no such route {self.where}")

    do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = handle_all  # noqa: N815

    def receive(self, oid):
        """One LFS file, block by block."""
        with LOCK:
            number = Handler.received
            Handler.received += 1
        hashed, seen, total = hashlib.sha256(), 0, int(self.headers.get("Content-Length", 0))
        part = self.repos.blob(oid).with_suffix(f".{number}.part")
        with part.open("wb") as file:
            for block in self.blocks():
                hashed.update(block)
                file.write(block)
                seen += len(block)
                if self.die_after is not None and number >= self.die_after and seen * 2 > total:
                    os._exit(9)
        if hashed.hexdigest() != oid:
            return self.refuse(400, "these bytes have another SHA-256")
        part.replace(self.repos.blob(oid))
        return self.reply({})

    # --- what the API knows ---

    def whoami(self):
        if not self.role:
            return self.refuse(401, "Invalid username or password.")
        orgs = [{"name": name, "type": "org"} for name in NAMESPACES[1:]]
        auth = {"type": "access_token", "accessToken": {"role": self.role, "displayName": "test"}}
        return self.reply({"name": "me", "type": "user", "orgs": orgs, "auth": auth})

    def validate(self):
        """The header of a card: what the Hub is known to insist on."""
        import yaml

        asked = json.loads(self.content)
        text = asked["content"]
        header = yaml.safe_load(text.split("---\n")[1]) if text.startswith("---\n") else {}
        errors = []
        sizes = r"n<1K|1K<n<10K|10K<n<100K|100K<n<1M|1M<n<10M"
        size = (header.get("size_categories") or [""])[0]
        if asked["repoType"] == "dataset" and not re.fullmatch(sizes, size):
            errors.append({"message": '"size_categories" must be one of n<1K, 1K<n<10K, ...'})
        if header.get("license") == "other" and not header.get("license_name"):
            errors.append({"message": '"license_name" is required'})
        for config in header.get("configs", []):
            if not {"config_name", "data_files"} <= set(config):
                errors.append({"message": '"configs" need config_name and data_files'})
        return self.reply({"errors": errors, "warnings": []}, 400 if errors else 200)

    def create(self):
        asked = json.loads(self.content)
        name = f"{asked.get('organization') or 'me'}/{asked['name']}"
        if self.role != "write" or name.partition("/")[0] not in NAMESPACES:
            return self.refuse(
                403, f"You don't have the rights to create a dataset under the namespace {name}"
            )
        with LOCK:
            known = self.repos.load(name) is not None
            if not known:
                self.repos.create(name, bool(asked.get("private") or asked.get("visibility") == "private"))
        base = f"http://{self.headers['Host']}"
        return self.reply({"url": f"{base}/datasets/{name}", "name": name, "id": name}, 409 if known else 200)

    def visible(self, name):
        repo = self.repos.load(name)
        if repo is None or (repo["private"] and not self.role):
            self.refuse(404 if self.role else 401, "Repository not found", "RepoNotFound")
            return None
        return repo

    def files(self, repo, revision):
        """The files of a revision, and its commit; None where there is no such revision."""
        oid = repo["head"] if revision in (None, "main") else repo["tags"].get(revision, revision)
        commit = repo["commits"].get(oid)
        if commit is None:
            self.refuse(404, f"Invalid rev id: {revision}", "RevisionNotFound")
            return None, None
        return commit["files"], oid

    def info(self, name, revision=None):
        if not (repo := self.visible(name)):
            return None
        files, oid = self.files(repo, revision)
        if files is None:
            return None
        when = "2026-01-01T00:00:00.000Z"
        known = {
            "_id": "1",
            "id": name,
            "author": "me",
            "sha": oid,
            "private": repo["private"],
            "gated": False,
        }
        more = {
            "disabled": False,
            "tags": [],
            "downloads": 0,
            "likes": 0,
            "lastModified": when,
            "createdAt": when,
        }
        return self.reply({**known, **more, "siblings": [{"rfilename": f} for f in files]})

    def refs(self, name):
        if repo := self.visible(name):
            main = [{"name": "main", "ref": "refs/heads/main", "targetCommit": repo["head"]}]
            tags = [{"name": t, "ref": f"refs/tags/{t}", "targetCommit": c} for t, c in repo["tags"].items()]
            self.reply({"branches": main, "tags": tags, "converts": []})

    def tree(self, name, revision, folder=""):
        if not (repo := self.visible(name)):
            return None
        files, _ = self.files(repo, revision)
        if files is None:
            return None
        deep = self.query.get("recursive", ["false"])[0].lower() == "true"
        below = {f: e for f, e in files.items() if not folder or f.startswith(folder + "/")}
        if folder and not below:
            return self.refuse(404, f"{folder} does not exist", "EntryNotFound")
        skip = len(folder) + 1 if folder else 0
        folders = {f[: skip + f[skip:].rindex("/")] for f in below if "/" in f[skip:]}
        shown = [_folder(f) for f in sorted(folders) if deep or "/" not in f[skip:]]
        shown += [_file(f, e) for f, e in sorted(below.items()) if deep or "/" not in f[skip:]]
        return self.reply(shown)

    def paths(self, name, revision):
        if not (repo := self.visible(name)):
            return None
        files, _ = self.files(repo, revision)
        if files is None:
            return None
        json_ = "json" in self.headers.get("Content-Type", "")
        asked = (
            json.loads(self.content)["paths"] if json_ else parse_qs(self.content.decode()).get("paths", [])
        )
        found = [_file(p, files[p]) for p in asked if p in files]
        found += [
            _folder(p)
            for p in asked
            if p not in files and any(f.startswith(p.rstrip("/") + "/") for f in files)
        ]
        return self.reply(found)

    # --- writing ---

    def writable(self, name):
        repo = self.visible(name)
        if repo and self.role != "write":
            self.refuse(403, "Forbidden: this token may only read")
            return None
        return repo

    def preupload(self, name, revision):
        if not (repo := self.writable(name)):
            return None
        there = repo["commits"][repo["head"]]["files"]
        answer = []
        for file in json.loads(self.content)["files"]:
            lfs = file["path"].endswith((".parquet", ".safetensors")) or file["size"] > 10_000_000
            oid = there.get(file["path"], {}).get("oid")
            mode = "lfs" if lfs else "regular"
            answer.append({"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        return self.reply({"files": answer})

    def batch(self, name):
        if not self.writable(name):
            return None
        base = f"http://{self.headers['Host']}"
        objects = []
        for o in json.loads(self.content)["objects"]:
            upload = {"upload": {"href": f"{base}/lfs/{o['oid']}", "header": {}}}
            known = self.repos.blob(o["oid"]).exists()
            objects.append({"oid": o["oid"], "size": o["size"], **({} if known else {"actions": upload})})
        return self.reply({"transfer": "basic", "objects": objects})

    def commit(self, name, revision):
        with LOCK:
            if not (repo := self.writable(name)):
                return None
            lines = [json.loads(line) for line in self.content.decode().splitlines()]
            header = next(line["value"] for line in lines if line["key"] == "header")
            if header.get("parentCommit") not in (None, repo["head"]):
                return self.refuse(412, "A commit has happened since. Please refresh and try again.")
            if sum(line["key"] != "header" for line in lines) > 100:
                return self.refuse(413, "too many files in one commit")
            files = dict(repo["commits"][repo["head"]]["files"])
            for line in lines:
                value = line["value"]
                if line["key"] == "file":
                    data = base64.b64decode(value["content"])
                    self.repos.blob(git_oid(data)).write_bytes(data)
                    files[value["path"]] = {"oid": git_oid(data), "size": len(data), "lfs": False}
                elif line["key"] == "lfsFile":
                    if not self.repos.blob(value["oid"]).exists():
                        return self.refuse(400, f"LFS object {value['oid']} was never sent")
                    size = self.repos.blob(value["oid"]).stat().st_size
                    files[value["path"]] = {"oid": value["oid"], "size": size, "lfs": True}
                elif line["key"] == "deletedFile":
                    files.pop(value["path"])
            oid = self.repos.commit(name, repo, files, header["summary"])
        url = f"http://{self.headers['Host']}/datasets/{name}/commit/{oid}"
        return self.reply({"success": True, "commitOid": oid, "commitUrl": url, "pullRequestUrl": None})

    def tag(self, name, revision):
        with LOCK:
            if not (repo := self.writable(name)):
                return None
            wanted = json.loads(self.content)["tag"]
            if wanted in repo["tags"]:
                return self.refuse(409, f"Tag {wanted} exists already")
            _, oid = self.files(repo, revision)
            if oid:
                repo["tags"][wanted] = oid
                self.repos.save(name, repo)
                self.reply({})
            return None

    # --- reading ---

    def resolve(self, name, revision, path):
        if not (repo := self.visible(name)):
            return None
        files, commit = self.files(repo, revision)
        if files is None:
            return None
        if path not in files:
            return self.refuse(404, "Entry not found", "EntryNotFound")
        entry = files[path]
        size = entry["size"]
        headers = {"ETag": f'"{entry["oid"]}"', "X_Repo_Commit": commit, "Accept_Ranges": "bytes"}
        headers |= {"X_Linked_Etag": headers["ETag"], "X_Linked_Size": size} if entry["lfs"] else {}
        asked = re.match(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        start, end = (int(asked[1]), min(int(asked[2] or size), size - 1)) if asked else (0, size - 1)
        with self.repos.blob(entry["oid"]).open("rb") as file:
            file.seek(start)
            data = b"" if self.command == "HEAD" else file.read(end - start + 1)
        headers |= {"Content_Range": f"bytes {start}-{end}/{size}"} if asked else {}
        headers |= {"Content_Length": end - start + 1, "Content_Type": "application/octet-stream"}
        self.send_response(206 if asked else 200)
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), str(value))
        self.end_headers()
        self.wfile.write(data)
        return None


def _file(path, entry):
    size, oid = entry["size"], entry["oid"]
    lfs = {"lfs": {"oid": oid, "size": size, "pointerSize": 130}} if entry["lfs"] else {}
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {size}\n".encode()
    return {
        "type": "file",
        "path": path,
        "size": size,
        "oid": git_oid(pointer) if entry["lfs"] else oid,
        **lfs,
    }


def _folder(path):
    return {"type": "directory", "path": path, "size": 0, "oid": "0" * 40}


NAME = r"([^/]+/[^/]+)"
KIND = r"(?:/datasets)?"  # a model has none
ROUTES = [
    (r"/api/whoami-v2", Handler.whoami),
    (r"/api/validate-yaml", Handler.validate),
    (r"/api/repos/create", Handler.create),
    (rf"{KIND}/{NAME}\.git/info/lfs/objects/batch", Handler.batch),
    (rf"/api/(?:datasets|models)/{NAME}", Handler.info),
    (rf"/api/(?:datasets|models)/{NAME}/revision/([^/]+)", Handler.info),
    (rf"/api/(?:datasets|models)/{NAME}/refs", Handler.refs),
    (rf"/api/(?:datasets|models)/{NAME}/tree/([^/]+)", Handler.tree),
    (rf"/api/(?:datasets|models)/{NAME}/tree/([^/]+)/(.+)", Handler.tree),
    (rf"/api/(?:datasets|models)/{NAME}/paths-info/([^/]+)", Handler.paths),
    (rf"/api/(?:datasets|models)/{NAME}/preupload/([^/]+)", Handler.preupload),
    (rf"/api/(?:datasets|models)/{NAME}/commit/([^/]+)", Handler.commit),
    (rf"/api/(?:datasets|models)/{NAME}/tag/([^/]+)", Handler.tag),
    (rf"{KIND}/{NAME}/resolve/([^/]+)/(.+)", Handler.resolve),
]


@dataclass
class Hub:
    """The server as a process of its own, and what it was asked."""

    root: Path
    port: int
    process: subprocess.Popen | None = None

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def environment(self, token="hf_writesecret123"):
        """For clients: this Hub, its token, no Xet, caches of its own."""
        home = {
            "HF_HOME": str(self.root / "home"),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
        }
        offline = {"HF_HUB_OFFLINE": "0", "HF_DATASETS_OFFLINE": "0", "HF_HUB_DISABLE_IMPLICIT_TOKEN": "0"}
        return {**home, **offline, "HF_ENDPOINT": self.url, "HF_TOKEN": token, "NO_PROXY": "127.0.0.1"}

    def start(self, *args):
        command = [sys.executable, __file__, str(self.port), str(self.root), *map(str, args)]
        self.process = subprocess.Popen(command)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return self
            except OSError:
                time.sleep(0.05)
        raise RuntimeError("the fake Hub did not start")

    def stop(self):
        if self.process:
            self.process.kill()
            self.process.wait()

    def log(self):
        path = self.root / "log.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def forget(self):
        (self.root / "log.jsonl").unlink(missing_ok=True)

    def sent(self):
        """The SHA-256 of every file whose sending began, in order."""
        return [r["path"].removeprefix("/lfs/") for r in self.log() if r["method"] == "PUT"]

    def repo(self, name):
        return Repos(self.root).load(name)


def free_port():
    """A port below those that the system gives to others: while the server is dead, nobody else gets it."""
    while True:
        port = random.randrange(20_000, 30_000)
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return port


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("port", type=int)
    arguments.add_argument("root", type=Path)
    arguments.add_argument("--die-after", type=int)
    given = arguments.parse_args()
    Handler.repos, Handler.die_after = Repos(given.root), given.die_after
    ThreadingHTTPServer(("127.0.0.1", given.port), Handler).serve_forever()


if __name__ == "__main__":
    main()
