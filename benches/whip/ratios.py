"""Prints what each layer adds to the bare router, in instructions per request.

Reads the JSON of several gungraun runs and takes the least count: moka does its maintenance by the clock.
"""

import json
import sys

REQUESTS = 512


def main():
    counts = {}
    for row, count in (read(line) for line in sys.stdin if line.startswith("{")):
        counts[row] = min(count, counts.get(row, count))
    if not counts:
        sys.exit("whip: nothing was counted")
    print("| request | around the handler | instructions | added | whip() over it |")
    print("|---|---|---|---|---|")
    for (request, around), count in counts.items():
        added, whip = (counts[request, of] - counts[request, "bare"] for of in (around, "whip"))
        over = f"{whip / added:.2f}" if added else "–"
        print(f"| {request} | {around} | {count:.0f} | {added:.0f} | {over} |")


def read(line):
    """The request and what is around the handler, and its instructions per request."""
    row = json.loads(line)
    counted = row["profiles"][0]["summaries"]["total"]["summary"]["Callgrind"]["Ir"]["metrics"]
    # If there was an earlier run, its count follows the new one.
    new = counted["Both"][0] if "Both" in counted else counted["Left"]
    return (row["function_name"], row["id"]), new["Int"] / REQUESTS


main()
