#!/usr/bin/env bash
# Adds the leaf of leaf.toml to the shipped bundle from twenty tickets, and tells what forty others are read as
# before and behind, what the old leaves lost, and how long it took.
#
#     cargo build --release --locked && bench/new_leaf/run.sh bench/results/new_leaf.json
set -euo pipefail
cd "$(dirname "$0")/../.."
out=${1:?name the file for the result}
prokura=${PROKURA:-target/release/prokura}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -r config "$work/config"
grep -v '^#' bench/new_leaf/leaf.toml >> "$work/config/intents.toml"
sed -i '/^id = "account_services"/,/^leaves = \[/ s/^leaves = \[/leaves = [\n  "power_of_attorney",/' "$work/config/intents.toml"
here=(--config "$work/config/prokura.toml" --state "$work/state")
started=$(date +%s.%N)
"$prokura" train --heads-only "${here[@]}" --start models/default \
  --tickets bench/new_leaf/tickets.jsonl --out "$work/bundle" > "$work/extended.json"
ended=$(date +%s.%N)
# What a bank would hold its own tickets to says nothing here.
printf '[[figure]]\nid = "tickets.de.leaf"\nbar = 0.0\n' > "$work/bars.toml"
"$prokura" evaluate "${here[@]}" --bundle "$work/bundle" --bar "$work/bars.toml" \
  --tickets bench/new_leaf/held_out.jsonl --json > "$work/after.json"
# Before, the leaf is not known: what these messages were read as.
python3 -c 'import json, sys
for line in open("bench/new_leaf/held_out.jsonl"):
    print(json.dumps({"id": "1", "text": json.loads(line)["text"]}))' > "$work/texts.jsonl"
"$prokura" understand --state "$work/none" --input "$work/texts.jsonl" > "$work/before.jsonl"
python3 - "$work" "$out" "$started" "$ended" <<'P'
import collections, json, pathlib, sys
work, out, started, ended = pathlib.Path(sys.argv[1]), sys.argv[2], float(sys.argv[3]), float(sys.argv[4])
extended = json.loads((work / "extended.json").read_text())["extended"]
after = json.loads((work / "after.json").read_text())["reports"]
before = collections.Counter(json.loads(line)["intents"][0]["leaf"] for line in open(work / "before.jsonl"))
told = {
    "seconds": round(ended - started, 1),
    "recall": {name.split(".")[1]: report["leaves"]["power_of_attorney"]["recall"] for name, report in after.items()},
    "held_out": {name.split(".")[1]: report["n"] for name, report in after.items()},
    "read_as_before": dict(before.most_common()),
    "old_leaves": {key: extended[key] for key in ("old_before", "old_after", "measured")},
    "tickets": extended["tickets"], "beside": extended["beside"],
}
pathlib.Path(out).parent.mkdir(parents=True, exist_ok=True)
pathlib.Path(out).write_text(json.dumps(told, indent=2) + "\n")
print(json.dumps(told, indent=2))
P
