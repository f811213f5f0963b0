"""What other libraries find for the questions of the generated records: splink (on DuckDB) and the Python Record Linkage
Toolkit, both as their guides have it, without labels. One line of JSON on standard output.

    python bench/lookup_peers.py splink|recordlinkage RECORDS.csv QUESTIONS.jsonl

`scan` is no library: it adds up the Jaro-Winkler similarities (rapidfuzz) of all fields of every record.
"""

import json
import sys
import time
from pathlib import Path

FIELDS = ["first_name", "last_name", "date_of_birth", "postcode", "city", "street"]


def main():
    peer, records, questions = sys.argv[1:]
    if peer == "scan":
        return scan(records, questions)
    import pandas
    known = pandas.read_csv(records, dtype=str).rename(columns={"id": "unique_id"})
    asked = [json.loads(line) for line in Path(questions).open()]
    truth = {one["id"]: one["record"] for one in asked}
    rows = [
        {"unique_id": one["id"], **{field: (one["fields"].get(field) or [None])[0] for field in FIELDS}} for one in asked
    ]
    asked = pandas.DataFrame(rows, dtype=object)
    begun = time.time()
    pairs = {"splink": splink, "recordlinkage": toolkit}[peer](known, asked)
    seconds = time.time() - begun
    best = {}
    for question, record, probability in pairs:
        if probability > best.get(question, (0, None))[0]:
            best[question] = (probability, record)
    there = sum(record is not None for record in truth.values())
    def at(least):
        found = {question: record for question, (probability, record) in best.items() if probability >= least}
        right = sum(truth[question] == record for question, record in found.items())
        precision, recall = right / max(len(found), 1), right / there
        return {"threshold": least, "precision": round(precision, 4), "recall": round(recall, 4),
                "f1": round(2 * precision * recall / max(precision + recall, 1e-9), 4),
                "false_matches": round((len(found) - right) / len(truth), 5)}
    levels = [at(least) for least in (0.5, 0.8, 0.9, 0.95, 0.99, 0.999, 0.9999)]
    reached = {question for question, record, _ in pairs if truth[question] == record}
    print(json.dumps({
        "peer": peer, "seconds": round(seconds, 1), "pairs": len(pairs), "pair_completeness": round(len(reached) / there, 5),
        "best": max(levels, key=lambda level: level["f1"]), "at_0.99": at(0.99),
    }))


def scan(records, questions):
    import numpy
    import pandas
    from rapidfuzz import process
    from rapidfuzz.distance import JaroWinkler
    known = pandas.read_csv(records, dtype=str).fillna("")
    columns = {field: known[field].tolist() for field in FIELDS}
    asked = [json.loads(line) for line in Path(questions).open()][:20]
    took, right = [], 0
    for one in asked:
        begun = time.perf_counter()
        sums = numpy.zeros(len(known), dtype=numpy.float32)
        for field, values in one["fields"].items():
            sums += process.cdist(values[:1], columns[field], scorer=JaroWinkler.similarity, dtype=numpy.float32)[0]
        best = known["id"][int(sums.argmax())]
        took.append(1e3 * (time.perf_counter() - begun))
        right += one["record"] == best
    took.sort()
    print(json.dumps({"p50_ms": round(took[len(took) // 2], 1), "questions": len(asked), "right": right,
                      "about_somebody": sum(one["record"] is not None for one in asked)}))


def splink(known, asked):
    import splink.comparison_library as cl
    from splink import Linker, SettingsCreator, block_on
    from splink.backends.duckdb import DuckDBAPI
    database = DuckDBAPI()
    settings = SettingsCreator(
        link_type="link_only",
        comparisons=[
            cl.ForenameSurnameComparison("first_name", "last_name"),
            cl.DamerauLevenshteinAtThresholds("date_of_birth", [1, 2]),
            cl.DamerauLevenshteinAtThresholds("postcode", [1, 2]),
            cl.JaroWinklerAtThresholds("city", [0.92, 0.8]),
            cl.JaroWinklerAtThresholds("street", [0.92, 0.8]),
        ],
        blocking_rules_to_generate_predictions=[
            block_on("date_of_birth", "first_name"), block_on("date_of_birth", "last_name"),
            block_on("first_name", "last_name", "city"), block_on("first_name", "last_name", "postcode"),
            block_on("street", "last_name"), block_on("street", "first_name"), block_on("street", "postcode"),
            block_on("date_of_birth", "postcode"), block_on("date_of_birth", "city"),
        ],
    )
    tables = [database.register(asked, dataset_display_name="asked"), database.register(known, dataset_display_name="known")]
    linker = Linker(tables, settings, log_level=40)
    linker.training.estimate_probability_two_random_records_match(
        [block_on("first_name", "last_name", "date_of_birth")], recall=0.5)
    linker.training.estimate_u_using_random_sampling(max_pairs=5e6, seed=1)
    for rule in (block_on("date_of_birth"), block_on("last_name", "first_name")):
        linker.training.estimate_parameters_using_expectation_maximisation(rule, record_sample_proportion=1.0)
    found = linker.inference.predict(threshold_match_probability=0.01).as_pandas_dataframe()
    pairs = []
    for left, right, table, probability in zip(
        found.unique_id_l, found.unique_id_r, found.source_dataset_l, found.match_probability,
    ):
        question, record = (left, right) if table == "asked" else (right, left)
        pairs.append((question, record, float(probability)))
    return pairs


def toolkit(known, asked):
    import recordlinkage
    known, asked = known.set_index("unique_id"), asked.set_index("unique_id")
    index = recordlinkage.Index()
    for fields in (
        ["date_of_birth", "first_name"], ["date_of_birth", "last_name"], ["first_name", "last_name", "city"],
        ["first_name", "last_name", "postcode"], ["street", "last_name"], ["street", "first_name"],
        ["street", "postcode"], ["date_of_birth", "postcode"], ["date_of_birth", "city"],
    ):
        index.block(fields)
    candidates = index.index(asked, known)
    compare = recordlinkage.Compare(n_jobs=2)
    for field in ("first_name", "last_name", "city", "street"):
        compare.string(field, field, method="jarowinkler", threshold=0.85, label=field, missing_value=0)
    for field in ("date_of_birth", "postcode"):
        compare.string(field, field, method="damerau_levenshtein", threshold=0.8, label=field, missing_value=0)
    features = compare.compute(candidates, asked, known)
    classifier = recordlinkage.ECMClassifier(binarize=None)
    classifier.fit(features)
    likely = classifier.prob(features)
    return [(question, record, float(probability)) for (question, record), probability in likely.items()]


if __name__ == "__main__":
    main()
