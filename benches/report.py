"""Renders docs/benchmarks/*.json, the results of the benchmarks, to docs/benchmarks.md and docs/benchmarks/*.svg.

First takes the new results of the named benchmarks from target/benchmarks. The same results always give the same files.
benches/run installs matplotlib and starts this script.
"""

import json
import os
import re
import subprocess
import sys
from math import log
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

ROOT = Path(__file__).resolve().parent.parent
NEW = ROOT / "target/benchmarks"
RESULTS = ROOT / "docs/benchmarks"
PAGE = ROOT / "docs/benchmarks.md"

# The order on the page.
ORDER = ["hot_path", "instructions", "fingerprint", "footprint", "stall", "http", "peers", "store"]

# Text is drawn as paths, so that it looks the same with any fonts. The background is transparent and the colours are
# medium, so that plots are legible on white and on dark pages.
TEXT = "#7d8590"
KEPT = "#3d8bd9"
MISSED = "#d9534f"
LIMIT = "#d08a1f"

plt.rcParams.update(
    {
        "svg.hashsalt": "tower-offer-dedup",
        "font.family": "DejaVu Sans",
        "font.size": 11,
        "text.color": TEXT,
        "axes.edgecolor": TEXT,
        "axes.labelcolor": TEXT,
        "xtick.color": TEXT,
        "ytick.color": TEXT,
    }
)


def main():
    RESULTS.mkdir(parents=True, exist_ok=True)
    for name in sys.argv[1:]:
        result = json.loads((NEW / f"{name}.json").read_text())
        (RESULTS / f"{name}.json").write_text(json.dumps({"machine": machine()} | result, indent=2) + "\n")

    for old in RESULTS.glob("*.svg"):
        old.unlink()
    sections = [introduction()]
    names = [name for name in ORDER if (RESULTS / f"{name}.json").exists()]
    for name in names:
        result = json.loads((RESULTS / f"{name}.json").read_text())
        for plot in result["plots"]:
            draw(plot)
        sections.append(section(result))
    PAGE.write_text("\n".join(sections))
    print(f"{PAGE.relative_to(ROOT)}: {', '.join(names) or 'no results yet'}")


def introduction():
    return """# Benchmarks

Absolute times are those of the named machine, which other load shares. Budgets are ratios within one run, except where
a time is promised. A dashed mark in a plot is the budget; a red bar has missed it.

```sh
benches/run              # all benchmarks, then this page
benches/run stall http   # some of them; this page keeps the last results of the others
```
"""


def machine():
    fields = re.findall(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.M)
    model = fields[0].strip() if fields else "a CPU without a name"
    cores = len(os.sched_getaffinity(0))
    rustc = subprocess.run(["rustc", "--version"], capture_output=True, text=True, check=True).stdout.split()
    return f"{model}, {cores} cores, rustc {rustc[1]}"


def section(result):
    about = f"{result['about']} Measured on {result['machine']}."
    parts = [f"## {result['title']}", about, f"```sh\n{result['command']}\n```"]
    for plot in result["plots"]:
        parts.append(f"![{plot['title']}](benchmarks/{plot['name']}.svg)")
    for table in result["tables"]:
        parts.append(f"**{table['title']}**")
        parts.append(markdown(table))
    if result.get("missed"):
        parts.append("**Missed budgets**")
        parts.append("\n".join(f"- {missed}" for missed in result["missed"]))
    return "\n\n".join(parts) + "\n"


def markdown(table):
    lines = [table["columns"], ["---"] + ["--:"] * (len(table["columns"]) - 1), *table["rows"]]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def draw(plot):
    """Draws horizontal bars, the first on top, each with its value and a mark at its budget."""
    bars = plot["bars"]
    values = [bar["value"] for bar in bars]
    marks = [bar["limit"] for bar in bars if bar["limit"] is not None]
    is_log = plot["scale"] == "log"
    largest = max(values + marks)
    if is_log:
        smallest = min(value for value in values + marks if value > 0)
        start, end = smallest / 3, largest * (largest / smallest * 3) ** 0.25
    else:
        start, end = 0, largest * 1.3

    figure, axes = plt.subplots(figsize=(8.4, 0.9 + 0.42 * len(bars)), layout="constrained")
    for patch in (figure.patch, axes.patch):
        patch.set_visible(False)
    if is_log:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(numticks=8))
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.set_xlim(start, end)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))

    rows = range(len(bars))
    colours = [MISSED if is_missed(bar) else KEPT for bar in bars]
    axes.barh(rows, [max(value, start) - start for value in values], left=start, height=0.62, color=colours)
    for row, bar in zip(rows, bars):
        if bar["limit"] is not None:
            axes.plot([bar["limit"]] * 2, [row - 0.44, row + 0.44], color=LIMIT, linewidth=2, linestyle=(0, (2, 1)))
        # Next to the bar, or next to the mark if that follows closely.
        at = max(bar["value"], start)
        if bar["limit"] and distance(at, bar["limit"], (start, end), is_log) < 0.2:
            at = max(at, bar["limit"])
        text = short(bar["value"]) + (f" of {short(bar['limit'])}" if bar["limit"] is not None else "")
        axes.annotate(text, (at, row), xytext=(5, 0), textcoords="offset points", va="center")
    axes.set_yticks(rows, [bar["label"] for bar in bars])
    axes.invert_yaxis()
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color=TEXT, alpha=0.25, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.set_xlabel(plot["unit"])
    figure.suptitle(plot["title"], x=0.01, ha="left", fontsize=12, fontweight="bold")
    figure.savefig(RESULTS / f"{plot['name']}.svg", metadata={"Date": None, "Creator": None})
    plt.close(figure)


def is_missed(bar):
    if bar["limit"] is None:
        return False
    return bar["value"] < bar["limit"] if bar.get("at_least") else bar["value"] > bar["limit"]


def distance(value, limit, ends, is_log):
    """Distance from the value to the mark as a share of the axis; 1 if the mark comes first."""
    if limit < value:
        return 1
    if is_log:
        return log(limit / value) / log(ends[1] / ends[0])
    return (limit - value) / (ends[1] - ends[0])


def short(value):
    if value == 0:
        return "0"
    text = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return text


if __name__ == "__main__":
    main()
