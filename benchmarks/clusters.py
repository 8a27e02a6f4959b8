"""Whether clusters of problems mean anything: against labels that people gave, and against chance.

    python benchmarks/clusters.py --data DATA --out benchmarks/results/clusters

Labels (tags, difficulty, topic) are read by the validation alone: no setting was chosen by them, and
K is found from the vectors. Results are kept after each configuration; a run that was cut off goes on.
"""

import argparse
import asyncio
import json
import os
import platform
import time
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # Small matrices: threads only wait for each other.

import numpy as np

from bdc_agents.data import load_tasks
from bdc_agents.distill.clustering.cluster import cluster_items, embed_items
from bdc_agents.distill.clustering.validation import Validation, validate
from bdc_agents.distill.items import Embedded, Item, labels_of
from bdc_agents.embed.encoder import EncoderConfig, Vectors, unit
from bdc_agents.embed.load import load_encoder
from bdc_agents.experts.clusters import Clusters, ClusterSettings

METHODS: dict[str, dict[str, Any]] = {
    "UMAP, HDBSCAN": {"method": "umap-hdbscan"},
    "PCA, HDBSCAN": {"method": "pca-hdbscan"},
    "k-means, best K": {"method": "kmeans"},
    "k-means, K = 3": {"method": "kmeans", "clusters": 3},
}
REFITS, DRAWS, PERMUTATIONS = 5, 19, 999
# The floor shows what agreement costs nothing; that it is stable or tight is not asked.
EFFORT = {"MiniLM": {"refits": REFITS, "draws": DRAWS}, "TF-IDF": {"refits": 0, "draws": 0}}
SEED = 42
RATINGS = ("under 1500", "under 2200", "2200 on")


class Floor:
    """TF-IDF and a truncated SVD, fitted on the texts at hand: what any encoder has to beat."""

    def __init__(self, texts: Sequence[str]) -> None:
        from sklearn.decomposition import TruncatedSVD
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.pipeline import make_pipeline

        size = min(100, len(texts) - 1)
        words = TfidfVectorizer(sublinear_tf=True, stop_words="english", min_df=2)
        self._pipeline = make_pipeline(words, TruncatedSVD(size, random_state=SEED)).fit(texts)
        self.name = f"TF-IDF, SVD {size}"

    def embed(self, texts: Sequence[str]) -> Vectors:
        # A text without a known word has no direction: it gets the mean one.
        found = self._pipeline.transform(list(texts))
        return unit(found + 1e-9)


def contest_items(data: str, name: str, solutions: bool) -> list[Item]:
    """Problems of a known data set, with the reference program as the output where it is asked for."""
    items = []
    for task in load_tasks(name, data=data):
        code = (task.hidden.reveal_reference() or "") if solutions else ""
        labels = labels_of(task.problem)
        items.append(Item(id=task.problem.id, problem=task.problem.statement, output=code, labels=labels))
    return items


def xcodeeval_items(data: str) -> list[Item]:
    rows = Path(data, "xcodeeval", "prog_syn_val.jsonl").read_text(encoding="utf-8").splitlines()
    items = []
    for row in map(json.loads, rows):
        text = "\n\n".join(row[key] for key in ("description", "input_spec", "output_spec") if row.get(key))
        rating = row.get("difficulty")
        labels = {"tags": tuple(row["tags"])}
        if rating:
            labels["rating"] = (RATINGS[(int(rating) >= 1500) + (int(rating) >= 2200)],)
        items.append(Item(id=row["src_uid"], problem=text, labels=labels))
    return items


def sources(data: str) -> Iterator[tuple[str, str, list[Item]]]:
    yield "CodeContests", "statement", contest_items(data, "codecontests", False)
    yield "CodeContests", "statement + solution", contest_items(data, "codecontests", True)
    yield "xCodeEval", "statement", xcodeeval_items(data)
    yield "APPS", "statement", contest_items(data, "apps", False)


def placed_by_whole(clusters: Clusters, embedded: Embedded) -> float:
    """Problems alone, placed by centroids of problem *and* output: the rule that is not used."""
    labels, x = clusters.labels, embedded.vectors.astype(np.float64)
    right = 0
    for row, query in enumerate(embedded.queries):
        others = np.arange(len(labels)) != row
        means = np.stack([x[others & (labels == k)].mean(0) for k in range(clusters.count)])
        right += int((((query - means) ** 2).sum(1)).argmin() == labels[row])
    return right / len(labels)


def measure(embedded: Embedded, method: dict[str, Any], effort: dict[str, int]) -> dict[str, Any]:
    start = time.perf_counter()
    settings = ClusterSettings(**{"min_tokens": 0, "max_clusters": 12, "seed": SEED} | method)
    clusters = cluster_items(embedded, settings)
    seconds = time.perf_counter() - start
    found: Validation = validate(clusters, embedded, permutations=PERMUTATIONS, **effort)
    row = found.model_dump(exclude={"clusters", "verdict", "warnings"}) | {
        "k": clusters.count,
        "sizes": clusters.sizes().tolist(),
        "seconds": seconds,
        "notes": clusters.notes,
        "terms": [list(facts.terms[:5]) for facts in found.clusters],
    }
    if embedded.items[0].output and clusters.count > 1:
        row["placement_by_whole"] = placed_by_whole(clusters, embedded)
    return row


def run(data: str, out: Path) -> dict[str, Any]:
    file = out.with_suffix(".json")
    results = json.loads(file.read_text()) if file.is_file() else {"rows": {}}
    small = asyncio.run(load_encoder(EncoderConfig()))
    for name, text, items in sources(data):
        for label, effort in EFFORT.items():
            encoder = (
                small if label == "MiniLM" else Floor([f"{one.problem}\n\n{one.output}" for one in items])
            )
            embedded = None
            for method, settings in METHODS.items():
                texts = [(item.problem, item.output, item.labels) for item in items]
                inputs = [texts, encoder.name, settings, effort, PERMUTATIONS]
                state = sha256(json.dumps(inputs).encode()).hexdigest()[:16]
                key = f"{name} | {text} | {label} | {method}"
                if results["rows"].get(key, {}).get("state") == state:
                    continue
                embedded = embedded or embed_items(items, encoder)
                row = {"state": state, "items": len(items), "encoder": encoder.name}
                results["rows"][key] = row | measure(embedded, settings, effort)
                results["machine"] = {"python": platform.python_version(), "cores": os.cpu_count()}
                fresh = file.with_suffix(".new")
                fresh.write_text(json.dumps(results, indent=1) + "\n")
                fresh.replace(file)
                print(key, results["rows"][key]["k"], flush=True)
    return results


def number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def p_value(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def agreement_cell(one: dict[str, Any] | None) -> str:
    if one is None:
        return "-"
    return f"{number(one['nmi'])} ({number(one['nmi_chance'])}), {number(one['ari'])}, {p_value(one['p'])}"


def row_cells(key: list[str], row: dict[str, Any], labels: list[str]) -> list[str]:
    found = {one["label"]: one for one in row["agreements"]}
    tight = number(row["silhouette"])
    if row["silhouette_p"] is not None:
        tight += f" ({number(row['silhouette_chance'])}), {p_value(row['silhouette_p'])}"
    cells = [
        *key,
        str(row["k"]),
        tight,
        number(row["dbcv"]),
        number(row["stability"]),
        number(row["placement"]),
    ]
    return cells + [agreement_cell(found.get(label)) for label in labels]


def tables(results: dict[str, Any]) -> Iterator[str]:
    for kind in ("CodeContests", "xCodeEval", "APPS"):
        rows = [(key.split(" | ")[1:], row) for key, row in results["rows"].items() if key.startswith(kind)]
        if not rows:
            continue
        order = list(METHODS)
        rows.sort(key=lambda pair: (pair[0][:2], order.index(pair[0][2])))
        labels = list(dict.fromkeys(one["label"] for _, row in rows for one in row["agreements"]))
        heads = ["text", "encoder", "method", "K", "silhouette (chance), p", "DBCV", "stability", "placement"]
        heads += [f"{label}: NMI (chance), ARI, p" for label in labels]
        yield f"\n## {kind}, {rows[0][1]['items']} problems\n"
        yield "| " + " | ".join(heads) + " |"
        yield "|---" * len(heads) + "|"
        for key, row in rows:
            yield "| " + " | ".join(row_cells(key, row, labels)) + " |"


LEAST = 1 / (1 + PERMUTATIONS)
HEAD = f"""# Do the clusters mean anything?

`python benchmarks/clusters.py --data DATA`. Labels are read by the validation alone. K is found from the
vectors, but for the paper's K = 3.

- Silhouette, by cosine; in brackets the mean over {DRAWS} draws of normal data of the same covariance,
  clustered in the same way; p is the share of draws that do as well, at least {1 / (1 + DRAWS):.2f}.
- Stability: mean ARI with clusters of four fifths of the problems, {REFITS} times.
- Placement: share of problems that their text alone puts into their cluster, each held out of the
  centroids.
- NMI in brackets and p: {PERMUTATIONS} random deals of the cluster numbers; p is at least {LEAST:.3f}.
  A problem with several tags counts once for each.
- MiniLM is the packaged all-MiniLM-L6-v2; TF-IDF with an SVD is the floor that an encoder has to beat, for
  which structure was not tested.
"""


def verdict(results: dict[str, Any]) -> Iterator[str]:
    yield "\n## Verdict\n"
    rows = {key: row for key, row in results["rows"].items() if "MiniLM" in key}
    tests = [one for row in rows.values() for one in row["agreements"]]
    topic = [one for one in tests if one["label"] in ("tags", "given cluster")]
    hard = [one for one in tests if one["label"] in ("difficulty", "rating")]
    sure, mean = sum(one["p"] <= LEAST for one in topic), np.mean([one["nmi"] for one in topic])
    chance = np.mean([one["nmi_chance"] for one in topic])
    yield (
        f"- Topic: {sure} of {len(topic)} comparisons with tags or given topics reach the smallest p;\n"
        f"  NMI is {mean:.2f} on average, by chance {chance:.2f}."
    )
    some, most = sum(one["p"] <= 0.05 for one in hard), max(one["nmi"] for one in hard)
    yield (
        f"- Difficulty: {some} of {len(hard)} comparisons reach p = 0.05; the largest NMI is {most:.2f}.\n"
        "  Clusters of texts say what a problem is about, not how hard it is."
    )
    tight = [row["silhouette_p"] for row in rows.values() if row["silhouette_p"] is not None]
    yield (
        f"- Structure: {sum(p <= 0.05 for p in tight)} of {len(tight)} clusterings are tighter than those\n"
        "  of every draw of structureless data."
    )
    for method in METHODS:
        steady = [row["stability"] for key, row in rows.items() if key.endswith(f"| {method}")]
        known = [value for value in steady if value is not None]
        shown = (
            f"{np.mean(known):.2f}, from {min(known):.2f} to {max(known):.2f}" if known else "not measured"
        )
        yield f"- Stability of {method}: {shown}."
    both = [
        row for row in results["rows"].values() if "placement_by_whole" in row and "MiniLM" in row["encoder"]
    ]
    if both:
        ours = np.mean([row["placement"] for row in both])
        other = np.mean([row["placement_by_whole"] for row in both])
        yield (
            f"- Clustered by statement and solution, placed by statement alone: {ours:.0%} come to their\n"
            f"  own cluster by centroids of statements (what is built), {other:.0%} by those of both."
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default=os.environ.get("BDC_DATA", "../shared/data"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/clusters"))
    options = parser.parse_args()
    results = run(options.data, options.out)
    text = "\n".join([HEAD.rstrip(), *verdict(results), *tables(results)]) + "\n"
    options.out.with_suffix(".md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
