"""Serves the chat page: web/dist at /, the models folder at /models/, on 127.0.0.1 only, with byte ranges.

/hob-server tells who is serving which checkout, so that a second start finds the first. Nothing is listed, nothing
outside the two folders is given out but what a link in models/ itself points to (large models live elsewhere), nothing is
cached without asking again.
"""
import http.server
import json
import os
import re
import socket
import sys
import urllib.parse
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TYPES = {".html": "text/html; charset=utf-8", ".js": "text/javascript", ".css": "text/css", ".wasm": "application/wasm",
         ".json": "application/json", ".svg": "image/svg+xml", ".png": "image/png"}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "hob"

    def log_message(self, *args):
        pass

    def reply(self, code, kind, length, extra=()):
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(length))
        self.send_header("Cache-Control", "no-cache")
        self.send_header("X-Content-Type-Options", "nosniff")
        # the page may then share memory between workers
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        for name, value in extra:
            self.send_header(name, value)
        self.end_headers()

    def text(self, code, body, kind="text/plain; charset=utf-8"):
        data = body.encode("utf-8")
        self.reply(code, kind, len(data))
        if self.command != "HEAD":
            self.wfile.write(data)

    def file_of(self, path):
        path = urllib.parse.unquote(urllib.parse.urlsplit(path).path)
        base, rest = ("models", path[8:]) if path.startswith("/models/") else (os.path.join("web", "dist"), path[1:])
        folder = os.path.realpath(os.path.join(ROOT, base))
        if "\0" in rest:
            return None
        full = os.path.join(folder, rest or "index.html")
        linked = base == "models" and os.path.basename(rest) == rest and rest not in (".", "..")
        full = full if linked else os.path.realpath(full)
        return full if full.startswith(folder + os.sep) and os.path.isfile(full) else None

    def do_GET(self):
        # a page elsewhere must not reach us under a name of its own
        host = re.sub(r":\d+$", "", self.headers.get("Host", ""))
        if host not in ("127.0.0.1", "localhost"):
            return self.text(403, "this server answers 127.0.0.1 only\n")
        if self.path == "/hob-server":
            return self.text(200, json.dumps({"hob": 1, "root": ROOT, "pid": os.getpid()}), "application/json")
        path = self.file_of(self.path)
        if not path:
            return self.text(404, "not here\n")
        size = os.path.getsize(path)
        kind = TYPES.get(os.path.splitext(path)[1], "application/octet-stream")
        first, last, code, extra = 0, size - 1, 200, [("Accept-Ranges", "bytes")]
        wanted = re.match(r"bytes=(\d*)-(\d*)$", self.headers.get("Range", ""))
        if wanted and (wanted.group(1) or wanted.group(2)):
            a, b = wanted.groups()
            first = int(a) if a else max(size - int(b), 0)
            last = min(int(b), size - 1) if a and b else size - 1
            if first >= size or first > last:
                self.reply(416, kind, 0, [("Content-Range", "bytes */%d" % size)])
                return
            code = 206
            extra.append(("Content-Range", "bytes %d-%d/%d" % (first, last, size)))
        self.reply(code, kind, last - first + 1, extra)
        if self.command == "HEAD":
            return
        with open(path, "rb") as f:
            f.seek(first)
            left = last - first + 1
            while left:
                block = f.read(min(left, 1 << 18))
                if not block:
                    break
                self.wfile.write(block)
                left -= len(block)

    do_HEAD = do_GET


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def handle_error(self, request, client_address):
        kind = sys.exc_info()[0]
        if not issubclass(kind, (ConnectionError, socket.timeout)):  # a browser hangs up as it likes
            super().handle_error(request, client_address)


def ours(port):
    """True: our server of this checkout is there; a text: who else is; None: nobody."""
    with socket.socket() as s:
        s.settimeout(2)
        if s.connect_ex(("127.0.0.1", port)) != 0:
            return None
    try:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open("http://127.0.0.1:%d/hob-server" % port, timeout=3) as f:
            who = json.loads(f.read(4096).decode("utf-8"))
        return True if who.get("root") == ROOT else "hob of another checkout, %s" % who.get("root")
    except Exception:
        return "another program"


def start(port):
    """A server on the port (0: any), not running yet: serve_forever() it."""
    return Server(("127.0.0.1", port), Handler)


if __name__ == "__main__":
    wanted = os.environ.get("PORT") or "4627"
    if not re.fullmatch("[0-9]{1,5}", wanted) or int(wanted) > 65535:
        sys.exit("PORT=%s: this is no port; give a number from 0 (any that is free) to 65535" % wanted)
    try:
        server = start(int(wanted))
    except OSError as e:
        sys.exit("port %s cannot be used: %s; choose another by PORT" % (wanted, e.strerror))
    print("http://127.0.0.1:%d/" % server.server_address[1], flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass
