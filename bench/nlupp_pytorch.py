#!/usr/bin/env python3
"""The peer of `prokura train --task models/tasks/nlupp_banking.toml`: the same base model, lines, folds, passes,
batch and rate, fine-tuned in PyTorch with one thread.

What a practitioner would write: mean of the last layer's vectors into a linear head with a yes or no for every
intent, the first piece of every word into a linear head over BIO labels, both losses added, AdamW with linear
warm-up and decay. No word shapes, no lists of names, no swapped values, no beginning at the labels'
frequencies, no averaging, weights in 32 bits.

    python3 -m venv .venv && .venv/bin/pip install torch transformers tokenizers safetensors
    .venv/bin/python bench/nlupp_pytorch.py --task models/tasks/nlupp_banking.toml --data "$PROKURA_DATA" \
        --base models/base --out nlupp-peer.json --against OUT/counts.jsonl

Lines of the training folds that a held-out one repeats but for case, spaces and punctuation are left out, as
`prokura train --task` does. `--against` compares with the counts that it wrote, message by message.
"""

import argparse
import json
import math
import random
import time
import tomllib
from pathlib import Path

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import nn
from transformers import BertConfig, BertModel

REACH = 512
DRAWS = 2000


def options():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--task", type=Path, required=True, help="task file with form = \"json\"")
    parser.add_argument("--data", type=Path, required=True, help="folder that the task's paths are relative to")
    parser.add_argument("--base", type=Path, required=True, help="config.json, model.safetensors, tokenizer.json")
    parser.add_argument("--out", type=Path, required=True, help="report; what came of each fold is kept beside it")
    parser.add_argument("--folds", help="hold out these folds alone, such as 0,3")
    parser.add_argument("--develop", action="store_true", help="hold out the task's development folds together")
    parser.add_argument("--epochs", type=float, help="default: the task's recipe")
    parser.add_argument("--batch", type=int)
    parser.add_argument("--rate", type=float)
    parser.add_argument("--head-factor", type=float)
    parser.add_argument("--steps", type=int, help="steps instead of epochs")
    parser.add_argument("--threshold", type=float)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--against", type=Path, help="counts.jsonl of prokura train --task")
    return parser.parse_args()


# The recipe that `prokura train --task` takes where the task file names none; kept equal by hand.
RECIPE = {"epochs": 12.0, "batch": 32, "rate": 2e-4, "head_factor": 10.0, "decay": 0.01, "warm": 0.1,
          "dropout": 0.1, "slots": 2.0, "threshold": 0.5}


def recipe(asked, task):
    values = RECIPE | {key: value for key, value in task.get("recipe", {}).items() if key in RECIPE}
    for key in ("epochs", "batch", "rate", "head_factor", "threshold"):
        given = getattr(asked, key)
        if given is not None:
            values[key] = given
    return values


class Lines:
    """Texts as pieces and words, with labels."""

    def __init__(self, folds, tokenizer):
        rows = [row for fold in folds for row in fold]
        self.intents = sorted({intent for row in rows for intent in row.get("intents", [])})
        self.slots = sorted({slot for row in rows for slot in row.get("slots", {})})
        self.tokenizer = tokenizer

    def read(self, row):
        encoding = self.tokenizer.encode(row["text"])
        words, last = [], None
        for at, (word, (start, end)) in enumerate(zip(encoding.word_ids, encoding.offsets)):
            if word is None:
                continue
            if word != last:
                words.append([at, start, end])
                last = word
            words[-1][2] = end
        spans = {(slot, *value["span"]) for slot, value in row.get("slots", {}).items()}
        labels = [0] * len(words)
        for slot, first, behind in spans:
            label = 1 + 2 * self.slots.index(slot)
            for at, (_, start, end) in enumerate(words):
                if start >= first and end <= behind:
                    labels[at] = label
                    label = 2 + 2 * self.slots.index(slot)
        intents = set(row.get("intents", []))
        goals = [float(intent in intents) for intent in self.intents]
        return {"ids": encoding.ids, "words": words, "labels": labels, "goals": goals, "intents": intents,
                "spans": spans}


class Net(nn.Module):
    def __init__(self, base, dropout, intents, slots):
        super().__init__()
        config = BertConfig(**{key: value for key, value in json.loads((base / "config.json").read_text()).items()
                               if key not in ("architectures", "transformers_version", "_name_or_path")})
        config.hidden_dropout_prob = config.attention_probs_dropout_prob = dropout
        self.trunk = BertModel(config, add_pooling_layer=False)
        weights = load_file(str(base / "model.safetensors"))
        missing, _ = self.trunk.load_state_dict(weights, strict=False)
        if missing:
            raise SystemExit(f"{base}/model.safetensors lacks {missing[:3]}")
        width = config.hidden_size
        self.drop = nn.Dropout(dropout)
        self.intents = nn.Linear(width, intents)
        self.slots = nn.Linear(width, 1 + 2 * slots)

    def forward(self, batch):
        longest = max(len(line["ids"]) for line in batch)
        ids = torch.tensor([line["ids"] + [0] * (longest - len(line["ids"])) for line in batch])
        mask = torch.tensor([[1] * len(line["ids"]) + [0] * (longest - len(line["ids"])) for line in batch])
        hidden = self.trunk(input_ids=ids, attention_mask=mask).last_hidden_state
        weight = mask.unsqueeze(-1).to(hidden.dtype)
        pooled = (hidden * weight).sum(1) / weight.sum(1)
        rows = [at for at, line in enumerate(batch) for _ in line["words"]]
        places = [word[0] for line in batch for word in line["words"]]
        return self.intents(self.drop(pooled)), self.slots(self.drop(hidden[rows, places]))


def learn(train, lines, base, values, steps, seed):
    torch.manual_seed(seed)
    draw = random.Random(seed)
    net = Net(base, values["dropout"], len(lines.intents), len(lines.slots))
    net.train()
    groups = {}
    for name, parameter in net.named_parameters():
        head = not name.startswith("trunk.")
        plain = name.endswith("bias") or "LayerNorm" in name
        groups.setdefault((head, plain), []).append(parameter)
    optimiser = torch.optim.AdamW(
        [{"params": parameters, "lr": values["rate"] * (values["head_factor"] if head else 1.0),
          "weight_decay": 0.0 if plain else values["decay"]} for (head, plain), parameters in groups.items()])
    steps = steps or math.ceil(values["epochs"] * len(train) / values["batch"])
    warm = max(1, int(steps * values["warm"]))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda at: (at + 1) / warm if at < warm else (steps - at) / max(1, steps - warm))
    yes_or_no = nn.BCEWithLogitsLoss(reduction="sum")
    choice = nn.CrossEntropyLoss()
    order = []
    for step in range(steps):
        batch = []
        while len(batch) < values["batch"]:
            if not order:
                order = train[:]
                draw.shuffle(order)
            batch.append(order.pop())
        intents, slots = net(batch)
        of_intents = yes_or_no(intents, torch.tensor([line["goals"] for line in batch])) / len(batch)
        of_slots = choice(slots, torch.tensor([label for line in batch for label in line["labels"]]))
        optimiser.zero_grad()
        (of_intents + values["slots"] * of_slots).backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if step < 3 or (step + 1) % 100 == 0 or step + 1 == steps:
            print(f"step {step + 1} of {steps}: intents {of_intents.item():.3f}, slots {of_slots.item():.3f}",
                  flush=True)
    return net


def spans(labels, words, slots):
    """BIO as is: an inside without its beginning begins a value."""
    found, open_slot = [], None
    for label, (_, start, end) in zip(labels, words):
        if label == 0:
            open_slot = None
            continue
        slot = (label - 1) // 2
        if label % 2 == 0 and open_slot == slot:
            found[-1][2] = end
        else:
            found.append([slots[slot], start, end])
        open_slot = slot
    return {tuple(span) for span in found}


def measure(net, test, lines, threshold):
    net.eval()
    outcomes = []
    with torch.no_grad():
        for from_ in range(0, len(test), 32):
            batch = test[from_:from_ + 32]
            intents, slots = net(batch)
            labels = slots.argmax(-1).tolist()
            for line, row in zip(batch, intents.sigmoid().tolist()):
                found = {name for name, p in zip(lines.intents, row) if p >= threshold}
                own, labels = labels[:len(line["words"])], labels[len(line["words"]):]
                values = spans(own, line["words"], lines.slots)
                outcomes.append({"intents": count(found, line["intents"]), "slots": count(values, line["spans"])})
    return outcomes


def count(found, wanted):
    return {"right": len(found & wanted), "found": len(found), "wanted": len(wanted)}


def f1(counts):
    right, found, wanted = (sum(one[key] for one in counts) for key in ("right", "found", "wanted"))
    return 2 * right / max(1, found + wanted)


def drawn(n, figure):
    """95 % of a figure when messages are drawn anew."""
    draw = random.Random(1)
    figures = sorted(figure([draw.randrange(n) for _ in range(n)]) for _ in range(DRAWS))
    return [figures[round(0.025 * (DRAWS - 1))], figures[round(0.975 * (DRAWS - 1))]]


def scored(outcomes, what):
    counts = [outcome[what] for outcome in outcomes]
    return {"f1": f1(counts), "n": sum(one["wanted"] for one in counts),
            "interval": drawn(len(counts), lambda at: f1([counts[i] for i in at]))}


def compared(rounds, file):
    """How much higher Prokura's F1 is on the same messages, paired."""
    theirs = {(tuple(row["folds"]), row["at"]): row for row in map(json.loads, file.read_text().splitlines())}
    pairs = [(theirs[(tuple(held_out), at)], outcome) for held_out, outcomes in rounds
             for at, outcome in enumerate(outcomes) if (tuple(held_out), at) in theirs]
    report = {"messages": len(pairs)}
    for what in ("intents", "slots"):
        def gain(at):
            return f1([pairs[i][0][what] for i in at]) - f1([pairs[i][1][what] for i in at])
        if any(one[what]["wanted"] != two[what]["wanted"] for one, two in pairs):
            raise SystemExit(f"{file}: its messages are not those of this run")
        if pairs:
            report[what] = {"gain": gain(range(len(pairs))), "interval": drawn(len(pairs), gain)}
    return report


def normalised(text):
    return "".join(c for c in text.lower() if c.isalnum())


def main():
    asked = options()
    torch.set_num_threads(1)
    torch.set_num_interop_threads(1)
    task = tomllib.loads(asked.task.read_text())
    values = recipe(asked, task)
    folds = [json.loads((asked.data / path).read_text()) for path in task["folds"]]
    tokenizer = Tokenizer.from_file(str(asked.base / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(REACH)
    lines = Lines(folds, tokenizer)
    if asked.develop:
        rounds = [task["develop"]]
    elif asked.folds:
        rounds = [[int(fold)] for fold in asked.folds.split(",")]
    else:
        rounds = [[fold] for fold in task.get("held_out", range(len(folds)))]
    kept = asked.out.with_suffix(".folds.jsonl")
    key = {"recipe": values, "steps": asked.steps, "seed": asked.seed}
    done = {}
    if kept.exists():
        for row in map(json.loads, kept.read_text().splitlines()):
            if row["key"] == key:
                done[tuple(row["held_out"])] = row
    results = []
    for held_out in rounds:
        row = done.get(tuple(held_out))
        if row is None:
            test = [line for fold in held_out for line in folds[fold]]
            known = {normalised(line["text"]) for line in test}
            train = [line for at, fold in enumerate(folds) if at not in held_out for line in fold
                     if normalised(line["text"]) not in known]
            print(f"held out: {held_out}; {len(train)} lines", flush=True)
            started = time.monotonic()
            net = learn([lines.read(line) for line in train], lines, asked.base, values, asked.steps, asked.seed)
            seconds = time.monotonic() - started
            outcomes = measure(net, [lines.read(line) for line in test], lines, values["threshold"])
            row = {"key": key, "held_out": list(held_out), "seconds": seconds, "outcomes": outcomes}
            with kept.open("a") as out:
                out.write(json.dumps(row) + "\n")
        own = {what: f1([outcome[what] for outcome in row["outcomes"]]) for what in ("intents", "slots")}
        print(f"F1 in percent: intents {100 * own['intents']:.1f}, slots {100 * own['slots']:.1f}", flush=True)
        results.append((list(held_out), row["outcomes"], row["seconds"], own))
    develop = set(task.get("develop", []))
    everything = [outcome for _, outcomes, _, _ in results for outcome in outcomes]
    rest = [outcome for held_out, outcomes, _, _ in results if not develop & set(held_out) for outcome in outcomes]
    report = {"task": task["name"], "torch": torch.__version__, "recipe": values, "seed": asked.seed,
              "all": {what: scored(everything, what) for what in ("intents", "slots")},
              "mean_of_folds": {what: sum(own[what] for *_, own in results) / len(results)
                                for what in ("intents", "slots")},
              "seconds": sum(seconds for _, _, seconds, _ in results)}
    if rest and len(rest) < len(everything):
        report["without_develop"] = {what: scored(rest, what) for what in ("intents", "slots")}
    if asked.against:
        report["prokura_above"] = compared([(held_out, outcomes) for held_out, outcomes, _, _ in results],
                                           asked.against)
    asked.out.write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
