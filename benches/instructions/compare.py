"""Compares counted instructions with the baseline, and writes the result for `benches/report.py`.

Reads the JSON of several gungraun runs from standard input. With `--update`, the counts become the new baseline.
"""

import json
import sys
from pathlib import Path

HERE = Path(__file__).parent
BASELINE = HERE / "baseline.json"
RESULT = HERE.parent.parent / "target/benchmarks/instructions.json"
OPERATIONS = 512
MOST_GROWTH = 0.03

COMMAND = "benches/run instructions"
ABOUT = (
    "Instructions per offer, counted by valgrind over 512 offers of 3.8 KB: the least of six runs, whose tables are "
    "seeded differently. Growth of more than 3 % over the baseline in the repository fails. A budget is a factor of the "
    "reference row, counted in the same runs."
)

# Row, reference row, and the budget as a factor of the reference.
BUDGETS = [
    ("through_the_layer/duplicate_processed", "b/known_peer", 1.15),
    ("while_it_is_processed/duplicate_in_flight", "b/known_peer", 1.0),
    ("through_the_layer/new_offer_of_a_new_peer", "b_and_insert/new_peer", 1.3),
    ("through_the_layer/new_offer_of_a_new_peer_that_cools", "b_and_insert/new_peer", 1.3),
    ("through_the_layer/new_offer_of_a_known_peer", "b_and_insert/known_peer", 1.3),
]
REFERENCES = ("b/", "b_and_insert/", "without_the_layer/")
NOT_AN_OFFER = ("not_an_offer/through_the_layer", "without_the_layer/bare", 60)


def main():
    counts = {}
    for name, count in (read(line) for line in sys.stdin if line.startswith("{")):
        counts[name] = min(count, counts.get(name, count))
    if not counts:
        sys.exit("instructions: nothing was counted")
    if "--update" in sys.argv:
        BASELINE.write_text(json.dumps(counts, indent=2) + "\n")
    baseline = json.loads(BASELINE.read_text())
    report(counts, baseline)

    missing = sorted(baseline.keys() ^ counts.keys())
    if missing:
        sys.exit(f"instructions: the baseline and the benchmark have different rows: {', '.join(missing)}")
    over = [name for name, reference, limit in BUDGETS if counts[name] > limit * counts[reference]]
    if counts[NOT_AN_OFFER[0]] > counts[NOT_AN_OFFER[1]] + NOT_AN_OFFER[2]:
        over.append(NOT_AN_OFFER[0])
    if over:
        sys.exit(f"instructions: over the budget: {', '.join(over)}")
    # Not the references, which have nothing of the layer.
    rows = [row for row in counts if not row.startswith(REFERENCES)]
    grown = [row for row in rows if counts[row] > baseline[row] * (1 + MOST_GROWTH)]
    for row in grown:
        print(f"{row}: {counts[row]:.0f} instructions, {baseline[row]:.0f} in the baseline", file=sys.stderr)
    if grown:
        sys.exit(f"instructions: {len(grown)} rows grew by more than {MOST_GROWTH:.0%}")


def read(line):
    """The row's name, and its instructions per operation."""
    row = json.loads(line)
    metrics = row["profiles"][0]["summaries"]["total"]["summary"]["Callgrind"]
    name = f"{row['function_name']}/{row['id']}"
    # If there was an earlier run, its count follows the new one.
    counted = metrics["Ir"]["metrics"]
    new = counted["Both"][0] if "Both" in counted else counted["Left"]
    return name, new["Int"] / OPERATIONS


def report(counts, baseline):
    rows = [[name, f"{count:.0f}", f"{baseline.get(name, 0):.0f}"] for name, count in counts.items()]
    ratios = [[name, reference, f"{counts[name] / counts[reference]:.2f}", f"{limit}"] for name, reference, limit in BUDGETS]
    name, reference, limit = NOT_AN_OFFER
    over = [[name, reference, f"+{counts[name] - counts[reference]:.0f}", f"+{limit}"]]
    bars = [{"label": name, "value": counts[name] / counts[reference], "limit": limit} for name, reference, limit in BUDGETS]
    result = {
        "title": "Instructions",
        "command": COMMAND,
        "about": ABOUT,
        "tables": [
            {"title": "Counted", "columns": ["", "instructions", "baseline"], "rows": rows},
            {"title": "Budgets", "columns": ["", "reference", "ratio", "budget"], "rows": ratios + over},
        ],
        "plots": [
            {"name": "instructions", "title": "Instructions", "unit": "ratio", "scale": "linear", "bars": bars},
        ],
    }
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    for table in result["tables"]:
        print(f"\n## {table['title']}\n")
        for row in [table["columns"], ["---"] * len(table["columns"])] + table["rows"]:
            print("| " + " | ".join(row) + " |")


main()
