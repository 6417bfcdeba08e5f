"""A program run with its standard output or standard error on a terminal: what it would show a person. Used by suites."""
import os
import pty
import subprocess


def shown(command, stream, **popen):
    """Runs the command with `stream` ("stdout" or "stderr") on a terminal: (exit status, what the terminal got)."""
    ours, theirs = pty.openpty()
    p = subprocess.Popen(command, **{stream: theirs}, **popen)
    os.close(theirs)
    got, more = b"", b"any"
    while more:
        try:
            more = os.read(ours, 65536)
        except OSError:  # Linux's way to say that the other end is closed
            more = b""
        got += more
    os.close(ours)
    return p.wait(120), got
