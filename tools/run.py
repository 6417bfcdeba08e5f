"""`make run`: serves the chat page and opens it; with ASK in the environment asks that page in a headless browser.

Set-up and building are done by now. PORT, DEVICE, N, THREADS, TEMP, JSON are read from the environment too, and no
text of a person's passes a shell. --check only says whether the settings make sense: before minutes of set-up.
"""
import importlib.machinery
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import threading
import webbrowser

import serve

ROOT = serve.ROOT


def setup():
    loader = importlib.machinery.SourceFileLoader("hob_setup", os.path.join(ROOT, "tools", "setup"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("hob_setup", loader))
    loader.exec_module(module)
    return module


def die(text):
    print(text, file=sys.stderr)
    sys.exit(1)


def port_wanted():
    text = os.environ.get("PORT") or "4627"
    if not re.fullmatch("[0-9]{1,5}", text) or not 0 < int(text) < 65536:
        die("PORT=%s: this is no port; give a number from 1 to 65535" % text)
    return int(text)


def has_display():
    if sys.platform == "darwin" or os.name == "nt":
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")) and bool(shutil.which("xdg-open"))


def ask(url):
    """In Chromium, or in the Firefox that the environment names."""
    firefox = os.environ.get("FIREFOX", "")
    if firefox and not shutil.which(firefox):
        die("FIREFOX=%s: this is no program; give the path of a Firefox" % firefox)
    chrome = "" if firefox else setup().find_chrome()
    if not chrome and not firefox:
        code = subprocess.call([sys.executable, os.path.join(ROOT, "tools", "setup"), "browser"])
        chrome = setup().find_chrome()
        if code != 0 or not chrome:
            die("ASK: no browser is found to ask the page in; install Chromium, Chrome or Edge, or set CHROME to its path")
    env = dict(os.environ, HOB_URL=url, CHROME=chrome, FIREFOX=shutil.which(firefox) or "", HOB_TEMP=os.environ.get("TEMP", ""))
    env.pop("TEMP", None)  # programs take it for the folder of temporary files
    program = subprocess.Popen(["node", os.path.join(ROOT, "web", "tools", "ask.mjs")], env=env)
    while True:
        try:
            return program.wait()
        except KeyboardInterrupt:
            pass  # it has had the Ctrl-C too, and closes its browser


def check_settings():
    for name, values in (("DEVICE", ("", "auto", "webgpu", "cpu")),):
        if os.environ.get(name, "") not in values:
            die("%s=%s: this is no device; give one of %s" % (name, os.environ[name], ", ".join(values[1:])))
    for name, kind, least, most in (("N", int, 1, 1 << 20), ("THREADS", int, 0, 1 << 20), ("TEMP", float, 0, 2)):
        text = os.environ.get(name)
        if not text or (name == "TEMP" and os.path.isdir(text)):  # a machine's own TEMP is a folder
            continue
        if not re.fullmatch("[0-9]+" if kind is int else r"[0-9]*\.?[0-9]+", text) or not least <= kind(text) <= most:
            die("%s=%s: this is out of range; give a number from %d to %d" % (name, text, least, most))
    if os.environ.get("ASK") and not os.environ["ASK"].strip():
        die("ASK holds no word; ask something: make run ASK=\"Why is the sky blue?\"")
    return port_wanted()


def main():
    port = check_settings()
    if sys.argv[1:] == ["--check"]:
        return 0
    url = "http://127.0.0.1:%d/" % port
    who = serve.ours(port)
    if who not in (True, None):
        die("port %d is held by %s; choose another: make run PORT=%d" % (port, who, port + 1))
    try:
        server = None if who else serve.start(port)
    except OSError as e:
        die("port %d cannot be used: %s; choose another: make run PORT=%d" % (port, e.strerror, port + 1))
    if os.environ.get("ASK"):
        if server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
        return ask(url)
    print("\n  %s%s\n" % (url, "" if server else "   (already being served)"), flush=True)
    if has_display():
        webbrowser.open(url)
    if server:
        print("Ctrl-C ends it.", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
