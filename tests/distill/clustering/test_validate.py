"""Validation: scores equal those of scikit-learn, structure is told from its absence; the report."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bdc_agents.distill.clustering.agreement import agreement, scores
from bdc_agents.distill.clustering.cluster import cluster_items
from bdc_agents.distill.clustering.describe import describe_clusters
from bdc_agents.distill.clustering.report import render_map, write_cluster_report
from bdc_agents.distill.clustering.validation import Validation, validate
from bdc_agents.distill.items import Embedded
from bdc_agents.embed.encoder import unit
from bdc_agents.experts.clusters import ClusterSettings

Make = Callable[..., Embedded]
KMEANS = ClusterSettings(method="kmeans", clusters=3)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4)), min_size=10, max_size=60))
def test_scores_are_those_of_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    from sklearn import metrics

    clusters, labels = map(list, zip(*pairs, strict=True))
    table = np.zeros((4, 5))
    np.add.at(table, (clusters, labels), 1)
    nmi, ari, homogeneity = scores(table[table.sum(1) > 0])
    assert nmi == pytest.approx(metrics.normalized_mutual_info_score(labels, clusters), abs=1e-9)
    assert ari == pytest.approx(metrics.adjusted_rand_score(labels, clusters), abs=1e-9)
    assert homogeneity == pytest.approx(metrics.homogeneity_score(labels, clusters), abs=1e-9)


def test_chance_is_told_from_agreement() -> None:
    random = np.random.default_rng(0)
    clusters = random.integers(0, 4, 120)
    same = agreement("same", [(f"l{c}", "common") for c in clusters], clusters, permutations=199)
    other = agreement("other", [(f"l{c}",) for c in random.integers(0, 4, 120)], clusters, permutations=199)
    assert same is not None
    assert other is not None
    assert same.p == pytest.approx(1 / 200)
    assert same.nmi > 3 * same.nmi_chance
    assert other.p > 0.05
    assert other.nmi == pytest.approx(other.nmi_chance, abs=0.04)
    assert agreement("few", [("a",), ("b",)], np.array([0, 1])) is None
    assert agreement("one value", [("a",)] * 50, np.zeros(50, np.int64)) is None


def test_clusters_that_are_there_are_said_to_be(make_embedded: Make) -> None:
    embedded = make_embedded(groups=3, size=12)
    found = validate(cluster_items(embedded, KMEANS), embedded, refits=3, permutations=99)
    assert found.silhouette_p == pytest.approx(0.05)
    assert found.stability == pytest.approx(1)
    assert found.placement == 1
    assert [one.p for one in found.agreements] == [pytest.approx(0.01)]
    assert found.warnings == ()
    assert "agree with topic" in found.verdict
    terms = {facts.terms[0] for facts in found.clusters}
    assert len(terms) == 3
    assert all(facts.labels["topic"][0][1] == 1 for facts in found.clusters)


def test_clusters_of_structureless_data_are_warned_of(make_embedded: Make) -> None:
    embedded = make_embedded(groups=3, size=14)
    cloud = unit(np.ones(16) + np.random.default_rng(3).standard_normal((42, 16)))
    structureless = replace(embedded, vectors=cloud, queries=cloud)
    found = validate(cluster_items(structureless, KMEANS), structureless, refits=3, permutations=99)
    assert found.silhouette_p is not None
    assert found.silhouette_p > 0.05
    assert "not better than chance" in found.warnings[0]
    assert "nothing to do with" in found.warnings[-1] or "depend on" in " ".join(found.warnings)


def test_one_cluster_is_no_reason_to_warn(make_embedded: Make) -> None:
    embedded = make_embedded(groups=1, size=3)
    found = validate(cluster_items(embedded, ClusterSettings(method="kmeans")), embedded)
    assert (found.silhouette, found.stability, found.warnings) == (None, None, ())
    assert found.verdict.startswith("One cluster")


def test_labels_change_no_cluster(make_embedded: Make) -> None:
    embedded = make_embedded()
    bare = replace(embedded, items=tuple(item.model_copy(update={"labels": {}}) for item in embedded.items))
    for how in (KMEANS, ClusterSettings(method="pca-hdbscan")):
        assert cluster_items(bare, how).to_json() == cluster_items(embedded, how).to_json()


def test_texts_without_words_have_no_terms(make_embedded: Make) -> None:
    embedded = make_embedded(groups=2, size=3)
    blank = replace(
        embedded, items=tuple(item.model_copy(update={"problem": "1 2"}) for item in embedded.items)
    )
    facts = describe_clusters(cluster_items(blank, ClusterSettings(method="kmeans", min_tokens=0)), blank)
    assert all(one.terms == () for one in facts)


# --- the report -----------------------------------------------------------------------------------


def test_the_page_runs_nothing_that_it_shows(make_embedded: Make) -> None:
    embedded = make_embedded()
    hostile = "</script><script>alert(1)</script><!-- {{data}}"
    bad = embedded.items[0].model_copy(
        update={"problem": hostile, "id": hostile, "labels": {"tags": (hostile,)}}
    )
    embedded = replace(embedded, items=(bad, *embedded.items[1:]))
    clusters = cluster_items(embedded, KMEANS)
    found = Validation(clusters=describe_clusters(clusters, embedded), verdict=hostile)
    page = render_map(clusters, embedded, found, np.zeros((36, 2)), title=hostile)
    assert page.count("<script") == 2
    assert "alert(1)</script>" not in page
    data = json.loads(page.split('id="data">')[1].split("</script>")[0])
    assert data["points"][0]["text"] == hostile
    assert "http://" not in page.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in page


def test_the_report_is_written_whole(make_embedded: Make, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    embedded = make_embedded(size=6)
    clusters = cluster_items(embedded, KMEANS)
    found = validate(clusters, embedded, refits=0, draws=0, permutations=9)
    files = write_cluster_report(tmp_path / "report", clusters, embedded, found)
    assert [file.name for file in files] == ["clusters.html", "validation.json", "clusters.png"]
    assert files[2].read_bytes().startswith(b"\x89PNG")
    assert Validation.model_validate_json(files[1].read_text()) == found
    assert sorted(path.name for path in files[0].parent.iterdir()) == sorted(file.name for file in files)
