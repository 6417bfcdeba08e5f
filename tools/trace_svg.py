"""Draws a token from a trace: `tools/trace_svg.py TRACE.json OUT.svg`, where `hob bench --trace TRACE.json` made the trace.

Above, the fastest token from left to right, a bar a step, its height the share of the read bandwidth that the step gets
(a step that reads nothing from memory is low and short). Below, the kernels by their time.
"""
import json
import sys
from html import escape

WIDTH, HEIGHT, LEFT, ROW = 960, 150, 60, 20
COLOURS = ["#4269d0", "#efb118", "#ff725c", "#6cc5b0", "#3ca951", "#ff8ab7", "#a463f2", "#97bbf5", "#9c6b4e"]
OTHERS = "#9498a0"


def token_of(trace):
    """The fastest token and its steps."""
    events = [e for e in trace["traceEvents"] if e["ph"] == "X" and e["cat"].startswith("decode")]
    at = [e["name"] for e in events].index("decode %d" % trace["otherData"]["fastest_token"])
    return events[at], events[at + 1:at + 1 + events[at]["args"]["steps"]]


def text(x, y, words, anchor="start", more=""):
    return '<text x="%.1f" y="%.1f" text-anchor="%s"%s>%s</text>' % (x, y, anchor, more, escape(words))


def draw(trace):
    about = trace["otherData"]
    token, steps = token_of(trace)
    read = about["read_gbps"] or max(s["args"]["GB/s"] for s in steps) or 1
    times = {}
    for s in steps:
        times[s["args"]["kernel"]] = times.get(s["args"]["kernel"], 0) + s["dur"]
    kernels = sorted(times, key=times.get, reverse=True)[:len(COLOURS)]
    colour = dict(zip(kernels, COLOURS))
    top, scale = 44, (WIDTH - LEFT - 10) / max(token["dur"], 1e-6)
    bottom = top + HEIGHT
    where = about["device"] + (", %d threads, %s" % (about["threads"], about["isa"]) if "isa" in about else ", " + about["profile"])
    out = [text(LEFT, 18, "A token at position %d: %.2f ms, %d steps (%s)" % (about["fastest_token"], token["dur"] / 1e3, len(steps), where),
                more=' font-weight="bold"'),
           text(LEFT, 34, "height: share of the %.1f GB/s that memory reads here; width: time" % read)]
    for share in (0, 0.5, 1):
        y = bottom - HEIGHT * share
        out.append('<line x1="%d" x2="%d" y1="%.1f" y2="%.1f" stroke="#ccc"/>' % (LEFT, WIDTH - 10, y, y))
        out.append(text(LEFT - 6, y + 4, "%d %%" % (100 * share), "end"))
    for s in steps:
        high = max(min(s["args"]["GB/s"] / read, 1) * HEIGHT, 2)
        out.append('<rect class="step" x="%.2f" y="%.1f" width="%.2f" height="%.1f" fill="%s"><title>%s</title></rect>'
                   % (LEFT + (s["ts"] - token["ts"]) * scale, bottom - high, max(s["dur"] * scale, 0.1), high,
                      colour.get(s["args"]["kernel"], OTHERS),
                      escape("%s, %s: %.1f us, %.2f GB/s" % (s["name"], s["args"]["kernel"], s["dur"], s["args"]["GB/s"]))))
    rows = [(k, times[k], colour[k]) for k in kernels]
    rows.append(("all other kernels", sum(t for k, t in times.items() if k not in colour), OTHERS))
    rows.append(("between steps", token["dur"] - sum(times.values()), "#ddd"))
    y = bottom + 30
    for name, us, fill in rows:
        share = us / max(token["dur"], 1e-6)
        out.append(text(340, y + 12, name, "end"))
        out.append('<rect x="350" y="%d" width="%.2f" height="%d" fill="%s"/>' % (y, max(share, 0) * 480, ROW - 5, fill))
        out.append(text(356 + max(share, 0) * 480, y + 12, "%.2f ms, %.1f %%" % (us / 1e3, 100 * share)))
        y += ROW
    return ('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">\n'
            '<rect width="100%%" height="100%%" fill="white"/>\n%s\n</svg>\n' % (WIDTH, y + 10, "\n".join(out)))


def main():
    if len(sys.argv) != 3:
        print(__doc__.strip(), file=sys.stderr)
        return 2
    with open(sys.argv[1]) as f:
        picture = draw(json.load(f))
    with open(sys.argv[2], "w") as f:
        f.write(picture)
    return 0


if __name__ == "__main__":
    sys.exit(main())
