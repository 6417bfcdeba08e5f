"""The page's server: ranges, what it refuses, and that a second one is recognised."""
import http.client
import os
import shutil
import sys
import tempfile
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tools"))
import serve

server = serve.start(0)
port = server.server_address[1]
threading.Thread(target=server.serve_forever, daemon=True).start()
FILE = os.path.join(serve.ROOT, "web", "dist", "served-test.txt")


def get(path, headers=None):
    c = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    c.putrequest("GET", path, skip_host=bool(headers and "Host" in headers))
    for name, value in (headers or {}).items():
        c.putheader(name, value)
    c.endheaders()
    r = c.getresponse()
    return r.status, dict(r.getheaders()), r.read()


def test(name, got, want):
    print("PASS " + name if got == want else "FAIL %s: %r, not %r" % (name, got, want))


LINKS = [os.path.join(serve.ROOT, "models", "served-test" + end) for end in (".gguf", ".folder", ".broken")]
PAGE_LINK = os.path.join(os.path.dirname(FILE), "served-link.txt")
elsewhere = tempfile.mkdtemp()
os.makedirs(os.path.dirname(FILE), exist_ok=True)
os.makedirs(os.path.dirname(LINKS[0]), exist_ok=True)
with open(os.path.join(elsewhere, "large.gguf"), "w") as f:
    f.write("a large model")
for link, to in zip(LINKS + [PAGE_LINK], ("large.gguf", "", "nobody", "large.gguf")):
    os.symlink(os.path.join(elsewhere, to), link)
with open(FILE, "w") as f:
    f.write("0123456789")
try:
    test("a whole file", get("/served-test.txt")[0::2], (200, b"0123456789"))
    status, headers, body = get("/served-test.txt", {"Range": "bytes=2-4"})
    test("a range", (status, headers["Content-Range"], body), (206, "bytes 2-4/10", b"234"))
    test("an open range", get("/served-test.txt", {"Range": "bytes=7-"})[2], b"789")
    test("a range from the end", get("/served-test.txt", {"Range": "bytes=-3"})[2], b"789")
    test("a range past the end is refused", get("/served-test.txt", {"Range": "bytes=10-"})[0], 416)
    test("a list of ranges is the whole file", get("/served-test.txt", {"Range": "bytes=0-1,3-4"})[0], 200)
    test("no way out of the folders", [get(p)[0] for p in ("/../package.json", "/%2e%2e/package.json", "/models/../../Makefile",
                                                          "/..%2fpackage.json", "/models/%2e%2e/Makefile")], [404] * 5)
    test("a link in models/ is served", get("/models/served-test.gguf")[0::2], (200, b"a large model"))
    test("a range of it", get("/models/served-test.gguf", {"Range": "bytes=2-6"})[0::2], (206, b"large"))
    test("links to nothing and to folders, and out of the page are not", [get(p)[0] for p in (
        "/models/served-test.broken", "/models/served-test.folder", "/models/served-test.folder/large.gguf", "/served-link.txt",
        "/models/served-test.gguf%00", "/models/..", "/models/.", "/models/")], [404] * 8)
    test("another name for this machine is refused", get("/", {"Host": "example.com"})[0], 403)
    test("a folder is not listed", get("/assets/")[0], 404)
    test("our own server is recognised", serve.ours(port), True)
    test("a free port is free", serve.ours(1), None)
finally:
    for path in [FILE, PAGE_LINK] + LINKS:
        os.remove(path)
    shutil.rmtree(elsewhere)
    server.shutdown()
