"""A package index on loopback."""

import hashlib
import http.server
import re
import threading
from contextlib import suppress

from harness.wheels import metadata, normalized


class Index:
    """PEP 503 over wheels on disk, with hashes, with ranges, and unless `has_metadata` is false with PEP 658's metadata."""

    def __init__(self, wheels, has_metadata=True):
        self.wheels = {wheel.name: wheel for wheel in wheels}
        self.digests = {name: sha256(wheel) for name, wheel in self.wheels.items()}
        self.metadata = {name: metadata(wheel) for name, wheel in self.wheels.items()} if has_metadata else {}
        self.sent = []  # the names of the wheels, each as often as it was asked for
        index = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle(self):
                with suppress(ConnectionError):  # of a client that was killed
                    super().handle()

            def do_GET(self):
                index.answer(self)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/simple/"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    def answer(self, request):
        _, kind, name, *_ = [*request.path.split("/"), "", ""]
        wheel = name.removesuffix(".metadata")
        if kind == "simple":
            send(request, self.page(name).encode(), "text/html")
        elif kind == "files" and name in self.wheels:
            self.sent.append(name)
            send_file(request, self.wheels[name])
        elif kind == "files" and wheel in self.metadata:
            send(request, self.metadata[wheel], "text/plain")
        else:
            head(request, 404, 0, "text/plain")

    def page(self, project):
        links = [self.link(name) for name in self.wheels if normalized(name.split("-")[0]) == normalized(project)]
        return f"<!DOCTYPE html><body>{''.join(links)}</body>"

    def link(self, name):
        offered = self.metadata.get(name)
        core = f' data-core-metadata="sha256={hashlib.sha256(offered).hexdigest()}"' if offered else ""
        return f'<a href="/files/{name}#sha256={self.digests[name]}"{core}>{name}</a>'


def sha256(path):
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def send(request, content, kind):
    head(request, 200, len(content), kind)
    request.wfile.write(content)


def send_file(request, path):
    size = path.stat().st_size
    asked = re.fullmatch(r"bytes=(\d*)-(\d*)", request.headers.get("Range", ""))
    start, end = span(*asked.groups(), size) if asked else (0, size)
    if start >= end:
        head(request, 416, 0, "text/plain")
        return
    headers = {"Content-Range": f"bytes {start}-{end - 1}/{size}"} if asked else {}
    head(request, 206 if asked else 200, end - start, "application/octet-stream", headers)
    with path.open("rb") as file:
        request.connection.sendfile(file, start, end - start)


def span(first, last, size):
    """The bytes of a range (RFC 9110, 14.1.2) of a file, as start and end."""
    if not first:
        return max(0, size - int(last)), size
    return int(first), min(size, int(last) + 1) if last else size


def head(request, status, length, kind, headers=None):
    request.send_response(status)
    for name, value in {"Accept-Ranges": "bytes", **(headers or {})}.items():
        request.send_header(name, value)
    request.send_header("Content-Type", kind)
    request.send_header("Content-Length", str(length))
    request.end_headers()
