"""What each cluster is about: its key terms, its most typical problems, its labels."""

from __future__ import annotations

import numpy as np

from bdc_agents.distill.clustering.agreement import top_labels
from bdc_agents.distill.items import Embedded
from bdc_agents.experts.clusters import Clusters
from bdc_agents.extras import need
from bdc_agents.types import Frozen

# What a person takes in at a glance, on one line each.
_TERMS = 8
_EXAMPLES = 3
_SHOWN = 110
# Words of at least three letters, without digits: those are mostly sizes and test data.
_WORD = r"(?u)\b[^\W\d_]{3,}\b"


class ClusterFacts(Frozen):
    """One cluster in words and numbers.

    Args:
        label: Its number; -1 for the problems that are in none.
        problems, tokens: Its size; tokens are those to learn.
        terms: Its key terms, the most telling first.
        examples: Ids and first lines of its most typical problems.
        labels: By kind of label, the commonest values and the share of the cluster that has them.
    """

    label: int
    problems: int
    tokens: int
    terms: tuple[str, ...] = ()
    examples: tuple[tuple[str, str], ...] = ()
    labels: dict[str, tuple[tuple[str, float], ...]] = {}


def describe_clusters(clusters: Clusters, embedded: Embedded) -> tuple[ClusterFacts, ...]:
    """Facts about each cluster, and about the problems in none where there are such."""
    terms = key_terms([item.problem for item in embedded.items], clusters)
    numbers = [*range(clusters.count), *([-1] if (clusters.labels < 0).any() else [])]
    return tuple(_facts(number, clusters, embedded, terms.get(number, ())) for number in numbers)


def _facts(number: int, clusters: Clusters, embedded: Embedded, terms: tuple[str, ...]) -> ClusterFacts:
    rows = np.flatnonzero(clusters.labels == number)
    having = [embedded.items[row].labels for row in rows]
    kinds = sorted({kind for labels in having for kind in labels})
    return ClusterFacts(
        label=number,
        problems=len(rows),
        tokens=int(clusters.tokens[rows].sum()),
        terms=terms,
        examples=_examples(number, rows.tolist(), clusters, embedded),
        labels={
            kind: top_labels([embedded.items[row].labels.get(kind, ()) for row in rows]) for kind in kinds
        },
    )


def _examples(
    number: int, rows: list[int], clusters: Clusters, embedded: Embedded
) -> tuple[tuple[str, str], ...]:
    nearness = clusters.similarities(embedded.queries[rows])[:, number] if number >= 0 and rows else None
    order = rows if nearness is None else [rows[i] for i in np.argsort(-nearness, kind="stable")]
    return tuple((clusters.ids[row], first_line(embedded.items[row].problem)) for row in order[:_EXAMPLES])


def first_line(text: str, limit: int = _SHOWN) -> str:
    """The first words of a text on one line."""
    line = " ".join(text.split())
    return line if len(line) <= limit else f"{line[: limit - 1].rstrip()}…"


def key_terms(texts: list[str], clusters: Clusters) -> dict[int, tuple[str, ...]]:
    """The terms that set each cluster apart, by c-TF-IDF: tf(t, c) * log(1 + A / f(t)).

    A is the mean number of words of a cluster, f(t) how often the term stands in all of them.
    Words of more than half of the problems are left out.
    """
    counter = need("sklearn.feature_extraction.text").CountVectorizer(
        token_pattern=_WORD,
        stop_words="english",
        min_df=min(2, len(texts)),  # A word of one problem says something of that problem alone.
        # A word of more than half of the problems sets none apart. Of fewer than ten, half may be a cluster.
        max_df=0.5 if len(texts) > 9 else 1.0,
    )
    try:
        counts = counter.fit_transform(texts)
    except ValueError:  # No word is left.
        return {}
    words = counter.get_feature_names_out()
    # The numbers in use alone: an empty cluster would count towards the mean.
    numbers = [number for number in range(clusters.count) if (clusters.labels == number).any()]
    by_cluster = np.stack([np.asarray(counts[clusters.labels == n].sum(0)).ravel() for n in numbers])
    shares = by_cluster / np.maximum(by_cluster.sum(1, keepdims=True), 1)
    weights = shares * np.log1p(by_cluster.sum() / len(numbers) / np.maximum(by_cluster.sum(0), 1))
    # Only words that this cluster uses more than others do, and more than once.
    telling = np.where((shares >= shares.mean(0)) & (by_cluster > 1), weights, 0)
    found: dict[int, tuple[str, ...]] = {}
    for number, row in zip(numbers, telling, strict=True):
        # Twice as many as are shown, since plurals of words before them fall out.
        best = [str(words[i]) for i in np.argsort(-row, kind="stable")[: 2 * _TERMS] if row[i] > 0]
        found[number] = tuple(_one_form_each(best))[:_TERMS]
    return found


def _one_form_each(words: list[str]) -> dict[str, None]:
    """The words in order, without the plural or singular of one that stands before."""
    kept: dict[str, None] = {}
    for word in words:
        if not kept.keys() & {f"{word}s", f"{word}es", word.removesuffix("s"), word.removesuffix("es")}:
            kept[word] = None
    return kept
