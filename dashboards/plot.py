#!/usr/bin/env python3
"""Draws the panels of grafana.json as one SVG, with the data of a Prometheus. It needs the standard library only.

    dashboards/plot.py http://localhost:9090 SECONDS docs/dashboard.svg

SECONDS is how far back the plots reach from now.
"""

import json
import sys
import time
import urllib.parse
import urllib.request
from html import escape
from pathlib import Path

COLUMNS, WIDTH = 2, 460
LEFT, TOP, RIGHT, BOTTOM = 62, 34, 14, 152
LEGEND, LINE, SPACE = 32, 14, 26
# Medium colours on a transparent background, legible on white and on dark pages.
TEXT, GRID = "#7d8590", "#7d859055"
COLOURS = ["#3d8bd9", "#d9534f", "#d08a1f", "#4aa564", "#8e6bbf", "#c05fa0", "#2aa5a5", "#8a8a3c"]
PREFIXES = [(1e9, "G"), (1e6, "M"), (1e3, "k"), (1, "")]


def main():
    server, seconds, target = sys.argv[1], float(sys.argv[2]), Path(sys.argv[3])
    board = json.loads((Path(__file__).parent / "grafana.json").read_text())
    end = time.time()
    step = max(1, seconds / 150)
    panels = [panel for panel in board["panels"] if panel["type"] != "row"]
    drawn, top = [], 0
    for first in range(0, len(panels), COLUMNS):
        row = []
        for panel in panels[first : first + COLUMNS]:
            lines = []
            for query in panel["targets"]:
                result = ask(server, query["expr"], end - seconds, end, step)
                lines += [(legend(query["legendFormat"], one["metric"]), points(one["values"])) for one in result]
            row.append(draw(panel, without_zeros(lines), end - seconds, seconds))
        drawn += [f'<g transform="translate({n * WIDTH} {top})">{text}</g>' for n, (text, _) in enumerate(row)]
        top += max(height for _, height in row)
    target.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {COLUMNS * WIDTH} {top}" '
        f'font-family="sans-serif" font-size="11" fill="{TEXT}">\n' + "\n".join(drawn) + "\n</svg>\n"
    )


def without_zeros(lines):
    """Leaves out the lines that stay at zero, unless all do."""
    kept = [line for line in lines if any(value for _, value in line[1])]
    return kept or lines


def ask(server, expression, start, end, step):
    expression = expression.replace("$layer", ".*").replace("$__rate_interval", "10s")
    query = urllib.parse.urlencode({"query": expression, "start": start, "end": end, "step": step})
    with urllib.request.urlopen(f"{server}/api/v1/query_range?{query}", timeout=30) as response:
        return json.load(response)["data"]["result"]


def legend(text, labels):
    for name, value in labels.items():
        text = text.replace("{{%s}}" % name, value)
    return text


def points(values):
    # A rate or a quantile of nothing is not a number.
    return [(float(at), float(value)) for at, value in values if value != "NaN"]


def draw(panel, lines, start, seconds):
    """Returns the panel as SVG, and its height."""
    unit = panel["fieldConfig"]["defaults"]["unit"]
    most = max((value for _, values in lines for _, value in values), default=0)
    top = 1 if unit == "percentunit" else round_up(most)
    right, bottom = WIDTH - RIGHT, BOTTOM

    def place(at, value):
        x = LEFT + (at - start) / seconds * (right - LEFT)
        return f"{x:.1f},{bottom - value / top * (bottom - TOP):.1f}"

    parts = [f'<text x="{LEFT}" y="20" font-size="13" font-weight="bold">{escape(panel["title"])}</text>']
    for share in (0, 0.5, 1):
        y = bottom - share * (bottom - TOP)
        parts.append(f'<path d="M{LEFT} {y}H{right}" stroke="{GRID}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4}" text-anchor="end">{show(share * top, unit)}</text>')
    for at, anchor in ((0, "start"), (1, "end")):
        x = LEFT + at * (right - LEFT)
        label = "now" if at else f"{seconds:.0f} s ago"
        parts.append(f'<text x="{x}" y="{bottom + 15}" text-anchor="{anchor}">{label}</text>')
    x, y = LEFT, bottom + LEGEND
    for n, (name, values) in enumerate(lines):
        colour = COLOURS[n % len(COLOURS)]
        path = " ".join(place(*point) for point in values)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.8"/>')
        width = 20 + 6.2 * len(name)
        if x > LEFT and x + width > right:
            x, y = LEFT, y + LINE
        parts.append(f'<path d="M{x} {y - 4}h10" stroke="{colour}" stroke-width="3"/>')
        parts.append(f'<text x="{x + 14}" y="{y}">{escape(name)}</text>')
        x += width
    return "".join(parts), y + SPACE


def round_up(value):
    """Returns the next number of the form 1, 2 or 5 times a power of ten."""
    if value <= 0:
        return 1
    power = 10.0 ** (len(f"{value:.0f}") - 1 if value >= 1 else -len(f"{1 / value:.0f}"))
    return next(power * factor for factor in (1, 2, 5, 10, 20, 50, 100) if power * factor >= value)


def show(value, unit):
    if unit == "percentunit":
        return f"{value:.0%}"
    if unit == "s" and 0 < value < 1:
        return f"{value * 1000:g} ms"
    factor, prefix = next((one for one in PREFIXES if value >= one[0]), (1, ""))
    return f"{value / factor:.3g} {prefix}{ {'s': 's', 'bytes': 'B', 'ops': '/s'}.get(unit, '') }".rstrip()


main()
