"""Clusters: what holds whatever the data, and what they are on data that has some."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bdc_agents.distill.clustering.cluster import cluster_items, cluster_rows, held_out_scores
from bdc_agents.distill.items import Embedded, Item, embed_items, items_of_rows, labels_of, problem_text
from bdc_agents.embed.encoder import unit
from bdc_agents.errors import ConfigError, ModelError, UsageError
from bdc_agents.experts.clusters import SHARED, Clusters, ClusterSettings
from bdc_agents.search.traces import Row
from bdc_agents.types import Problem

LIGHT = [{"method": "kmeans"}, {"method": "kmeans", "clusters": 4}, {"method": "pca-hdbscan", "min_rows": 4}]
Make = Callable[..., Embedded]


@st.composite
def embeddeds(draw: st.DrawFn) -> Embedded:
    """Vectors of any kind: few or many, alike or not, some of them the same."""
    n = draw(st.integers(4, 40))
    random = np.random.default_rng(draw(st.integers(0, 10**6)))
    spread = draw(st.sampled_from([0.05, 1.0]))
    vectors = unit(np.eye(6)[random.integers(0, 3, n)] + spread * random.standard_normal((n, 6)))
    vectors[1] = vectors[0]
    queries = vectors if draw(st.booleans()) else unit(vectors + 0.1 * random.standard_normal((n, 6)))
    tokens = random.integers(0, 3000, n)
    items = tuple(Item(id=str(i), problem="p", tokens=int(t)) for i, t in enumerate(tokens))
    return Embedded(items, vectors, queries)


@settings(max_examples=12, deadline=None)
@given(embeddeds(), st.sampled_from(LIGHT), st.sampled_from(["assign", "shared"]), st.data())
def test_what_holds_whatever_the_data(embedded: Embedded, how: dict[str, Any], noise: Any, data: Any) -> None:
    chosen = ClusterSettings(**how, noise=noise, min_tokens=2000)
    clusters = cluster_items(embedded, chosen)
    n, k = len(embedded.items), clusters.count
    assert clusters.memberships.shape == (n, k)
    np.testing.assert_allclose(clusters.memberships.sum(1), 1, atol=1e-5)
    assert (clusters.memberships >= 0).all()
    kept = clusters.labels >= 0
    np.testing.assert_array_equal(clusters.memberships[kept].argmax(1), clusters.labels[kept])
    assert noise == "shared" or kept.all()
    sizes = clusters.token_sizes()
    assert k == 1 or (sizes.min() >= 2000 and clusters.sizes().min() >= 1)
    assert (np.diff(sizes) <= 0).all()
    order = data.draw(st.permutations(range(n)))
    shuffled = replace(
        embedded,
        items=tuple(embedded.items[i] for i in order),
        vectors=embedded.vectors[order],
        queries=embedded.queries[order],
    )
    again = cluster_items(shuffled, chosen)
    assert again.label_of() == clusters.label_of()
    np.testing.assert_array_equal(again.centroids, clusters.centroids)
    assert again.temperature == clusters.temperature


@pytest.mark.parametrize("how", LIGHT, ids=lambda how: "-".join(map(str, how.values())))
def test_groups_that_lie_apart_are_found(make_embedded: Make, how: dict[str, Any]) -> None:
    embedded = make_embedded(groups=4, size=10)
    clusters = cluster_items(embedded, ClusterSettings(**how))
    groups = np.repeat(np.arange(4), 10)
    assert clusters.count == 4
    assert len(set(zip(groups.tolist(), clusters.labels.tolist(), strict=True))) == 4
    placed = clusters.place(embedded.queries)
    np.testing.assert_array_equal(placed.argmax(1), clusters.labels)
    np.testing.assert_allclose(placed.sum(1), 1, atol=1e-5)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 5))
def test_kmeans_places_a_training_row_where_it_was(seed: int, k: int) -> None:
    random = np.random.default_rng(seed)
    vectors = unit(random.standard_normal((30, 8)))
    items = tuple(Item(id=str(i), problem="p", tokens=1) for i in range(30))
    chosen = ClusterSettings(method="kmeans", clusters=k, min_tokens=0)
    clusters = cluster_items(Embedded(items, vectors, vectors), chosen)
    np.testing.assert_array_equal(clusters.place(vectors).argmax(1), clusters.labels)
    np.testing.assert_allclose(clusters.place(vectors), clusters.memberships, atol=2e-3)


def test_a_starving_cluster_is_dissolved_into_its_neighbours(make_embedded: Make) -> None:
    embedded = make_embedded(groups=3, size=8)
    poor = [
        item.model_copy(update={"tokens": 10}) if i < 8 else item for i, item in enumerate(embedded.items)
    ]
    starved = replace(embedded, items=tuple(poor))
    for how in LIGHT:
        clusters = cluster_items(starved, ClusterSettings(**how | {"clusters": None}, min_tokens=4000))
        assert clusters.count == 2
        assert clusters.token_sizes().min() >= 4000
        assert "dissolved" in " ".join(clusters.notes)
    hungry = cluster_items(embedded, ClusterSettings(method="kmeans", min_tokens=10**6))
    assert hungry.count == 1
    assert "lower min_tokens" in hungry.notes[-1]


def test_there_are_no_more_clusters_than_experts(make_embedded: Make) -> None:
    embedded = make_embedded(groups=6, size=8)
    found = cluster_items(embedded, ClusterSettings(method="pca-hdbscan", min_rows=4, max_clusters=3))
    assert found.count == 3
    asked = cluster_items(embedded, ClusterSettings(method="kmeans", clusters=6, max_clusters=3))
    assert asked.count == 6


def test_what_lies_between_may_train_the_shared_expert_alone() -> None:
    random = np.random.default_rng(1)
    middles = np.zeros((3, 16))
    middles[:, 0], middles[1, 1], middles[2, 2] = 1, 0.6, 0.6
    crowd = np.repeat(middles, 12, 0) + 0.03 * random.standard_normal((36, 16))
    vectors = unit(np.concatenate([crowd, np.eye(16)[5:9]]))
    items = tuple(Item(id=str(i), problem="?", tokens=500) for i in range(40))
    whole = Embedded(items, vectors, vectors)
    how = ClusterSettings(method="pca-hdbscan", min_rows=6)
    shared = cluster_items(whole, how.model_copy(update={"noise": "shared"}))
    assigned = cluster_items(whole, how)
    assert (shared.labels[-4:] == SHARED).all()
    assert (assigned.labels >= 0).all()
    pairs = set(zip(shared.labels[:36].tolist(), assigned.labels[:36].tolist(), strict=True))
    assert len(pairs) == 3


def test_umap_and_hdbscan_find_the_groups_the_same_each_time(make_embedded: Make) -> None:
    pytest.importorskip("umap")
    pytest.importorskip("hdbscan")
    embedded = make_embedded(groups=3, size=12)
    chosen = ClusterSettings(dimensions=3, min_rows=5)
    clusters, again = cluster_items(embedded, chosen), cluster_items(embedded, chosen)
    assert clusters.count == 3
    np.testing.assert_array_equal(clusters.labels, again.labels)
    np.testing.assert_array_equal(clusters.memberships, again.memberships)
    assert len({tuple(set(clusters.labels[i : i + 12])) for i in (0, 12, 24)}) == 3
    np.testing.assert_allclose(clusters.memberships.sum(1), 1, atol=1e-5)


def test_few_problems_are_one_cluster(make_embedded: Make) -> None:
    for how in ("kmeans", "pca-hdbscan", "umap-hdbscan"):
        for n in (1, 2, 3):
            clusters = cluster_items(make_embedded(groups=1, size=n), ClusterSettings(method=how))
            assert clusters.count == 1
            np.testing.assert_array_equal(clusters.place(clusters.centroids), [[1.0]])
    with pytest.raises(UsageError, match="3 clusters of 2 problems"):
        cluster_items(make_embedded(groups=1, size=2), ClusterSettings.preset("paper"))


def test_settings_are_checked() -> None:
    assert ClusterSettings.preset("paper").clusters == 3
    with pytest.raises(ConfigError, match=r"paper"):
        ClusterSettings.preset("papr")
    with pytest.raises(ConfigError, match="min_tokens"):
        ClusterSettings.preset(min_token=1)


# --- placement and files --------------------------------------------------------------------------


def test_held_out_scores_leave_a_row_out_of_its_own_centroid() -> None:
    random = np.random.default_rng(0)
    queries, labels = unit(random.standard_normal((9, 4))), np.array([0, 0, 0, 0, 1, 1, 1, 2, 2])
    centroids = np.stack([queries[labels == k].mean(0) for k in range(3)])
    found = held_out_scores(queries, labels, centroids)
    for row in range(9):
        rest = np.arange(9) != row
        means = np.stack([queries[rest & (labels == k)].mean(0) for k in range(3)])
        np.testing.assert_allclose(found[row] - 1, -((queries[row] - means) ** 2).sum(1), atol=1e-6)


def test_a_saved_file_gives_back_every_bit(make_embedded: Make, tmp_path: Path) -> None:
    clusters = cluster_items(make_embedded(), ClusterSettings(method="kmeans"))
    loaded = Clusters.load(clusters.save(tmp_path / "clusters.json"))
    for name in ("labels", "memberships", "tokens", "centroids", "probe"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(clusters, name))
        assert getattr(loaded, name).dtype == getattr(clusters, name).dtype
    assert (loaded.ids, loaded.temperature, loaded.settings) == (
        clusters.ids,
        clusters.temperature,
        clusters.settings,
    )
    assert [path.name for path in tmp_path.iterdir()] == ["clusters.json"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"labels": [', '"labels": [7, '),
        ('"temperature": ', '"temperature": -'),
        ("{", "["),
        ('"ids"', '"x"'),
    ],
)
def test_a_damaged_file_is_refused(make_embedded: Make, tmp_path: Path, old: str, new: str) -> None:
    file = cluster_items(make_embedded(), ClusterSettings(method="kmeans")).save(tmp_path / "clusters.json")
    text = file.read_text()
    file.write_text(text.replace(old, new, 1))
    with pytest.raises(UsageError, match=r"clusters\.json: not clusters"):
        Clusters.load(file)
    with pytest.raises(UsageError, match="cannot be read"):
        Clusters.load(tmp_path / "absent.json")


def test_another_encoder_is_noticed(letters: Any) -> None:
    items = [
        Item(id=str(n), problem=text, tokens=1) for n, text in enumerate(["graph", "edges", "word", "letter"])
    ]
    clusters = cluster_items(embed_items(items, letters), ClusterSettings(method="kmeans", min_tokens=0))
    clusters.check_encoder(letters)
    letters.embed = lambda texts: unit([[len(text)] + [1.0] * 25 for text in texts])
    with pytest.raises(ModelError, match="letters"):
        clusters.check_encoder(letters)
    with pytest.raises(ModelError, match="vectors of 3 numbers"):
        clusters.place(np.ones((1, 3), np.float32))


def test_the_similarities_a_router_reads_are_cosines(make_embedded: Make) -> None:
    embedded = make_embedded()
    clusters = cluster_items(embedded, ClusterSettings(method="kmeans"))
    found = clusters.similarities(embedded.queries)
    assert found.shape == (36, clusters.count)
    assert np.abs(found).max() <= 1 + 1e-6
    np.testing.assert_allclose(clusters.similarities(unit(clusters.centroids)).diagonal(), 1, atol=1e-6)


# --- what is clustered ----------------------------------------------------------------------------


def rows_of(problem: str, code: str) -> list[Row]:
    ask = ({"role": "system", "content": "You plan."}, {"role": "user", "content": f"Task: {problem}"})
    kinds: list[tuple[Any, str]] = [("p2t", "1. think"), ("t2s", code), ("dpo", "never")]
    return [
        Row(
            kind=kind,
            problem_id=problem,
            prompt=ask,
            completion=text,
            rejected="worse" if kind == "dpo" else None,
        )
        for kind, text in kinds
    ]


def test_plan_and_program_of_a_problem_are_one_item(letters: Any) -> None:
    rows = [*rows_of("a", "x = 1"), *rows_of("b", "y = 2"), *rows_of("a", "x = 1")]
    first, second = items_of_rows(rows, {"a": "the text of a"}, count=len)
    assert first.problem == "the text of a"
    assert first.output == "1. think\n\nx = 1"
    assert first.tokens == len("1. think") + len("x = 1")
    assert second.problem == "Task: b"
    clusters = cluster_rows(rows, letters, ClusterSettings(method="kmeans"))
    assert clusters.ids == ("a", "b")
    with pytest.raises(UsageError, match="no solved problem"):
        cluster_rows([], letters)


def test_labels_are_never_embedded(letters: Any) -> None:
    problem = Problem(id="p", statement="Add.", difficulty="hard", tags=("math", "rating:1500", "inexact"))
    assert labels_of(problem) == {"tags": ("math",), "rating": ("1500",), "difficulty": ("hard",)}
    embed_items([Item(id="p", problem=problem_text(problem), output="o", labels=labels_of(problem))], letters)
    assert not any(word in text for text in letters.asked for word in ("hard", "math", "1500"))
