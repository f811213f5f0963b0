"""The look-up on public records, and on a million generated ones, beside other ways to do it.

    make bench-lookup            (PROKURA_DATA names the public data)

EVI: callers say postcode, name and date of birth, up to three tries each, with all hearings of the recogniser; the
record they mean is known. Weights are fitted with the labels of one half of the speakers and measured on the other
half, and the other way round. FEBRL: 5,000 records and a damaged copy of each; weights are fitted without labels.
A million: generated German records; 10,000 garbled questions, of which a fifth is about nobody. Growth: the same at ten
thousand, a hundred thousand and a million records, on one core, beside a scan of all records. Faults: a thousand
questions to a file and to a system that is down, slow or lies.
"""

import argparse
import csv
import http.server
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections import defaultdict
from pathlib import Path

import german_records

ROOT = Path(__file__).resolve().parent.parent
PARTS = ["evi", "febrl", "million", "growth", "faults"]
FIELDS = {"postcode": "postcode", "name": "full_name", "dob": "date_of_birth"}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("PROKURA_DATA"))
    parser.add_argument("--program", type=Path, default=ROOT / "target/release/prokura")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--peers", type=Path, help="a Python that has splink and recordlinkage")
    parser.add_argument("--only", choices=PARTS, action="append")
    parser.add_argument("--out", type=Path, required=True, help="a JSON file; other parts that it has stay")
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    told = json.loads(given.out.read_text()) if given.out.exists() else {}
    parts = given.only or PARTS
    if given.data is None and {"evi", "febrl"} & set(parts):
        sys.exit("PROKURA_DATA, or --data, names the folder of the public data")
    os.environ["PROKURA_DATA"] = str(given.data)
    if "evi" in parts:
        told["evi"] = {language: evi(given, language) for language in ("en", "pl")}
    if "febrl" in parts:
        told["febrl"] = febrl(given)
    if "million" in parts:
        told["million"] = million(given)
    if "growth" in parts:
        told["growth"] = growth(given)
    if "faults" in parts:
        told["faults"] = faults(given)
    given.out.write_text(json.dumps(told, indent=1) + "\n")


def lines(path, items):
    with path.open("w") as out:
        for item in items:
            out.write(json.dumps(item, ensure_ascii=False) + "\n")


def ask(given, config, questions):
    """Answers of the program, in the order of the questions, and the seconds that it took."""
    begun = time.time()
    done = subprocess.run(
        [given.program, "lookup", "--config", config, "--input", questions],
        stdout=subprocess.PIPE, text=True, check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()], time.time() - begun


def fit(given, config, questions, out):
    """The configuration with the section that `lookup fit` finds in the place of its own."""
    section = given.work / "section.toml"
    done = subprocess.run(
        [given.program, "lookup", "fit", "--config", config, "--input", questions, "--out", section],
        stdout=subprocess.PIPE, text=True, check=True,
    )
    before = config.read_text().split("[lookup.matching]")[0]
    out.write_text(before + section.read_text())
    return json.loads(done.stdout)


def evi(given, language):
    folder = given.data / "evi"
    known = {row["scenario_id"]: row for row in csv.DictReader((folder / f"records.{language}.csv").open())}
    dialogues = {}
    for row in csv.DictReader((folder / f"dialogues.{language}.dev.tsv").open(), delimiter="\t"):
        one = dialogues.setdefault(row["dialogue_id"], {
            "record": row["scenario_id"], "speaker": row["speaker_id"], "tries": defaultdict(lambda: defaultdict(list)),
        })
        one["tries"][FIELDS[row["item"]]][int(row["attempt_num"])] += json.loads(row["nbest"])
    there = {id: one for id, one in dialogues.items() if one["record"] in known}
    speakers = sorted({one["speaker"] for one in there.values()})
    half = {speaker: at % 2 for at, speaker in enumerate(speakers)}
    config = ROOT / f"config/examples/evi.{language}.toml"
    told = {"dialogues": len(dialogues), "with_record": len(there)}
    for name, tries in (("three_tries", 3), ("one_try", 1)):
        def questions(side):
            for id, one in there.items():
                if half[one["speaker"]] == side:
                    fields = {
                        field: [hearing for attempt in sorted(heard) if attempt < tries for hearing in heard[attempt]]
                        for field, heard in one["tries"].items()
                    }
                    yield {"id": id, "fields": fields, "record": one["record"]}
        judged = []
        for side in (0, 1):
            train, test = given.work / "train.jsonl", given.work / "test.jsonl"
            lines(train, questions(1 - side))
            lines(test, questions(side))
            fitted = given.work / f"evi.{language}.{side}.toml"
            fit(given, config, train, fitted)
            answers, seconds = ask(given, fitted, test)
            before, _ = ask(given, fitted, train)
            judged += judge(answers, there, threshold(before, there))
        shown = [one["answer"] for one in judged]
        suspects = [one for one in judged if one["suspect"]]
        clean = [one for one in judged if not one["suspect"]]
        share = lambda some, all: round(100 * len(some) / len(all), 2)
        told[name] = {
            "first": share([one for one in judged if one["first"]], judged),
            "among_candidates": share([one for one in judged if one["reached"]], judged),
            "identified": share([one for one in judged if one["identified"]], judged),
            "wrong": share([one for one in judged if one["identified"] and not one["first"]], judged),
            "suspect_labels": len(suspects),
            "identified_without_suspects": share([one for one in clean if one["identified"]], clean),
            "wrong_without_suspects": share([one for one in clean if one["identified"] and not one["first"]], clean),
        }
        if tries == 3:
            told["suspects"] = [
                {"dialogue": one["answer"]["id"], "label": one["label"], "found": one["answer"]["candidates"][0]["id"],
                 "why": one["answer"]["candidates"][0]["explanation"]}
                for one in suspects
            ]
        print(language, name, told[name], flush=True)
        assert len(shown) == len(there)
    return told


def judge(answers, dialogues, least):
    judged = []
    for answer in answers:
        label = dialogues[answer["id"]]["record"]
        ids = [candidate["id"] for candidate in answer["candidates"]]
        best = answer["candidates"][0] if ids else None
        first = bool(ids) and ids[0] == label
        # Another record agrees in all that was said, and the labelled one in nothing.
        suspect = (
            not first and best is not None and not best.get("against") and len(best["matched"]) >= 2
            and label not in ids[:5]
        )
        judged.append({
            "answer": answer, "label": label, "first": first, "reached": label in ids,
            "identified": best is not None and best["probability"] >= least, "suspect": suspect,
        })
    return judged


def threshold(answers, dialogues):
    """The least probability with which, here, at most one in 400 is wrong; labels that are suspect left out."""
    judged = [one for one in judge(answers, dialogues, 0) if not one["suspect"] and one["answer"]["candidates"]]
    judged.sort(key=lambda one: -one["answer"]["candidates"][0]["probability"])
    wrong, least = 0, 1.0
    for one in judged:
        wrong += not one["first"]
        if wrong > len(judged) / 400:
            break
        least = one["answer"]["candidates"][0]["probability"]
    return least


def febrl(given):
    folder = given.data / "febrl"
    config = given.work / "febrl.toml"
    shown = fit(given, ROOT / "config/examples/febrl.toml", folder / "dataset4b.csv", config)
    answers, seconds = ask(given, config, folder / "dataset4b.csv")
    number = lambda id: re.match(r"rec-(\d+)-", id).group(1)
    pairs = sorted(
        ((candidate["score"], candidate["probability"], answer["id"], candidate["id"])
         for answer in answers for candidate in answer["candidates"]),
        key=lambda pair: (-pair[0], pair[2], pair[3]),
    )
    left, right, one_to_one = set(), set(), []
    for score, probability, said, known in pairs:
        if score > 0 and said not in left and known not in right:
            left.add(said)
            right.add(known)
            one_to_one.append((said, known))
    free = [(said, known) for _, probability, said, known in pairs if probability >= 0.5]
    judged = lambda found: figures(sum(number(said) == number(known) for said, known in found), len(found), 5000)
    told = {"one_to_one": judged(one_to_one), "free": judged(free), "seconds": round(seconds, 1),
            "rounds": shown["rounds"], "weights": shown["fields"]}
    print("febrl", {name: told[name] for name in ("one_to_one", "free", "seconds")}, flush=True)
    return told


MILLION = """
[lookup.weights]
last_name = 5

[[sources.file]]
name = "generated"
path = "records.csv"
format = "csv"
find = { first_name = "first_name", last_name = "last_name", date_of_birth = "date_of_birth", postcode = "postcode", \
city = "city", street = "street" }

[sources.file.form]
id = "id"
owner = "id"
authorised = "authorised"
system = []
free_text = []

[lookup.matching]
identify = 0.99
candidates = 150
present = 0.8
slope = 1.0

[lookup.matching.fields]
first_name = { kind = "name", rarity = true }
last_name = { kind = "name", rarity = true }
date_of_birth = { kind = "date" }
postcode = { kind = "identifier" }
city = { kind = "place", rarity = true }
street = { kind = "place" }
"""


def million(given):
    """Questions that no one record answers with the probability that identifies are answered with none."""
    folder = generated(given, given.records)
    begun = time.time()
    fitted = fit(given, folder / "start.toml", unlabelled(folder), folder / "fitted.toml")
    fit_seconds = time.time() - begun
    truth = {one["id"]: one["record"] for one in map(json.loads, (folder / "test.jsonl").open())}
    answers, seconds = ask(given, folder / "fitted.toml", folder / "test.jsonl")
    few = folder / "few.jsonl"
    lines(few, [json.loads(line) for line in (folder / "test.jsonl").open()][:100])
    _, start = ask(given, folder / "fitted.toml", few)
    found = {answer["id"]: answer["selected"][0] for answer in answers if len(answer["selected"]) == 1}
    right = sum(truth[id] == record for id, record in found.items())
    there = [answer for answer in answers if truth[answer["id"]]]
    reached = sum(any(one["id"] == truth[answer["id"]] for one in answer["candidates"]) for answer in there)
    took = sorted(answer["sources"][0]["milliseconds"] for answer in answers)
    told = {
        "records": given.records, "questions": len(answers), "about_somebody": len(there),
        **figures(right, len(found), len(there)),
        "false_matches": round((len(found) - right) / len(answers), 5),
        "pair_completeness": round(reached / len(there), 5),
        "candidates_mean": round(sum(len(answer["candidates"]) for answer in answers) / len(answers), 1),
        "p50_ms": took[len(took) // 2], "p99_ms": took[len(took) * 99 // 100],
        "seconds": round(seconds, 1), "seconds_of_start": round(start, 1), "seconds_of_fit": round(fit_seconds, 1),
        "present": fitted["present"],
    }
    print("million", told, flush=True)
    for peer in ("splink", "recordlinkage") if given.peers else ():
        asked = [given.peers, ROOT / "bench/lookup_peers.py", peer, folder / "records.csv", folder / "test.jsonl"]
        done = subprocess.run(asked, stdout=subprocess.PIPE, text=True)
        told[peer] = json.loads(done.stdout) if done.returncode == 0 else None
        if told[peer] is None:
            print("skipped", peer, "(see above)", flush=True)
        print(peer, told[peer], flush=True)
    return told


def generated(given, count):
    folder = given.work / f"generated-{count}"
    if not (folder / "test.jsonl").exists():
        folder.mkdir(exist_ok=True)
        german_records.write(folder, count, 10_000)
    (folder / "start.toml").write_text(MILLION.replace("\\\n", ""))
    return folder


def growth(given):
    """Time, memory and start by number of records, with the weights that the most records gave."""
    most = given.work / f"generated-{given.records}/fitted.toml"
    if not most.exists():
        sys.exit("growth needs the weights of the part `million`: run that first")
    told = {}
    for count in (10_000, 100_000, given.records):
        folder = generated(given, count)
        config = folder / "growth.toml"
        config.write_text(most.read_text())
        few, some = folder / "few.jsonl", folder / "some.jsonl"
        asked = [json.loads(line) for line in (folder / "test.jsonl").open()]
        lines(few, asked[:1])
        lines(some, asked[:2000])
        begun = time.time()
        subprocess.run([*ONE_CORE, given.program, "lookup", "--config", config, "--input", few], check=True, stdout=subprocess.DEVNULL)
        start = time.time() - begun
        answers, seconds, memory = alone(given, config, some)
        took = sorted(answer["sources"][0]["milliseconds"] for answer in answers)
        told[count] = {
            "p50_ms": took[len(took) // 2], "p99_ms": took[len(took) * 99 // 100],
            "start_seconds": round(start, 2), "bytes_per_record": round(memory / count),
        }
        if given.peers:
            peer = [*ONE_CORE, given.peers, ROOT / "bench/lookup_peers.py", "scan", folder / "records.csv", some]
            done = subprocess.run(peer, stdout=subprocess.PIPE, text=True)
            told[count]["scan"] = json.loads(done.stdout) if done.returncode == 0 else None
        print("growth", count, told[count], flush=True)
    return told


ONE_CORE = ["taskset", "-c", str(max(os.sched_getaffinity(0)))]


def alone(given, config, questions):
    """On one core: answers, seconds, and the most bytes that the process had."""
    begun = time.time()
    command = [*ONE_CORE, given.program, "lookup", "--config", config, "--input", questions]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    answers, memory = [], 0
    for line in running.stdout:
        if not answers:  # What it holds was read, and it is still there.
            status = Path(f"/proc/{running.pid}/status").read_text()
            memory = 1024 * int(re.search(r"VmHWM:\s+(\d+)", status).group(1))
        answers.append(json.loads(line))
    running.wait()
    assert running.returncode == 0
    return answers, time.time() - begun, memory


SYSTEM = """
[[sources.http]]
name = "system"
base_url = "http://127.0.0.1:PORT"
timeout_ms = 300
max_bytes = 65536
ids = "/ids"
record = "/records/{id}"
accounts_of = "/customers/{customer}"
accounts = "/ids"
account_id = "/id"
find = { last_name = "/find?last_name={value}" }
limits = { failures = 3, open_ms = 1000 }

[sources.http.form]
id = "id"
owner = "owner"
authorised = "authorised"
system = []
free_text = []

[outbound]
hosts = ["127.0.0.1:PORT"]
"""


def faults(given):
    """What a thousand look-ups in a file and a system are when the system fails: all answered, all marked."""
    folder = generated(given, 10_000)
    asked = [json.loads(line) for line in (folder / "test.jsonl").open()]
    some = folder / "thousand.jsonl"
    lines(some, [one for one in asked if one["fields"].get("last_name")][:1000])
    told = {}
    for fault in ("none", "down", "slow", "lying"):
        with System(fault) as port:
            config = folder / "faults.toml"
            config.write_text((folder / "start.toml").read_text().split("[lookup.matching]")[0]
                              + SYSTEM.replace("PORT", str(port)))
            begun = time.time()
            command = [given.program, "lookup", "--config", config, "--input", some]
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        answers = [json.loads(line) for line in done.stdout.splitlines()]
        status = lambda answer: {source["name"]: source["status"] for source in answer["sources"]}
        statuses = [status(answer)["system"] for answer in answers]
        told[fault] = {
            "answers": len(answers), "exit_code": done.returncode, "seconds": round(time.time() - begun, 1),
            "file_answered": sum(status(answer)["generated"] == "answered" for answer in answers),
            "marked": sum(one != "answered" for one in statuses),
            "statuses": {one: statuses.count(one) for one in sorted(set(statuses))},
        }
        print("faults", fault, told[fault], flush=True)
    return told


class System:
    """A system on loopback that fails as it is told to."""

    def __init__(self, fault):
        self.fault = fault

    def __enter__(self):
        fault = self.fault

        class Answer(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                if fault == "slow":
                    time.sleep(2)
                body = b'{"found": "yes", "ids": "all of them"}' if fault == "lying" else b'{"ids": []}'
                try:
                    self.send_response(200)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)
                except OSError:
                    pass  # Who asked has gone.

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self.server.daemon_threads = True
        port = self.server.server_address[1]
        if fault == "down":
            self.server.server_close()
        else:
            threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return port

    def __exit__(self, *_):
        if self.fault != "down":
            self.server.shutdown()
            self.server.server_close()


def unlabelled(folder):
    """The questions to fit by, without what they are about."""
    out = folder / "unlabelled.jsonl"
    lines(out, ({"id": one["id"], "fields": one["fields"]} for one in map(json.loads, (folder / "fit.jsonl").open())))
    return out


def figures(right, found, there):
    precision, recall = right / max(found, 1), right / max(there, 1)
    f1 = 2 * precision * recall / max(precision + recall, 1e-9)
    return {"precision": round(precision, 4), "recall": round(recall, 4), "f1": round(f1, 4)}


if __name__ == "__main__":
    main()
