"""A bar chart of `make bench` as SVG: hob's speed as a multiple of the peer's, on a logarithmic axis."""
import math
from xml.sax.saxutils import escape

WIDTH, LEFT, RIGHT, ROW, TOP = 860, 350, 120, 34, 46
LOW, HIGH = 0.1, 64.0


def x_of(ratio):
    share = (math.log(min(max(ratio, LOW), HIGH)) - math.log(LOW)) / (math.log(HIGH) - math.log(LOW))
    return LEFT + share * (WIDTH - LEFT - RIGHT)


def draw(bars):
    """bars: (name, ours, theirs, the peer's name)."""
    height = TOP + ROW * len(bars) + 34
    out = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="system-ui, sans-serif" font-size="13">' % (WIDTH, height),
           '<style>text{fill:#1f2328} .grid{stroke:#8886} .one{stroke:#1f2328} @media(prefers-color-scheme:dark){text{fill:#e6edf3} .one{stroke:#e6edf3}}</style>',
           '<text x="12" y="22" font-weight="600">hob, as a multiple of the peer (tokens a second, median)</text>']
    for tick in (0.1, 0.25, 0.5, 1, 2, 4, 8, 16, 32, 64):
        x = x_of(tick)
        out.append('<line class="%s" x1="%.1f" x2="%.1f" y1="%d" y2="%d"/>' % ("one" if tick == 1 else "grid", x, x, TOP - 8, height - 28))
        out.append('<text x="%.1f" y="%d" text-anchor="middle" font-size="11">%g</text>' % (x, height - 12, tick))
    for i, (name, ours, theirs, peer) in enumerate(bars):
        y, ratio = TOP + ROW * i, ours / theirs
        a, b = sorted((x_of(1), x_of(ratio)))
        out.append('<text x="12" y="%d">%s</text>' % (y + 17, escape(name)))
        out.append('<rect x="%.1f" y="%d" width="%.1f" height="%d" rx="2" fill="%s"/>' % (a, y + 2, max(b - a, 1), ROW - 12, "#2f81f7" if ratio >= 1 else "#d29922"))
        out.append('<text x="%d" y="%d" font-size="12">%.2f × %s</text>' % (WIDTH - RIGHT + 12, y + 17, ratio, escape(peer)))
    return "\n".join(out + ["</svg>", ""])
