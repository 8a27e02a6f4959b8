"""What is new to a library among some traces, and to which of its experts."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import ValidationError

from bdc_agents.config import explain
from bdc_agents.distill.experts import CLUSTERS, library_clusters
from bdc_agents.distill.library import ExpertLibrary
from bdc_agents.distill.recipe import AdapterConfig, Recipe
from bdc_agents.distill.rows import row_key
from bdc_agents.errors import ConfigError, ModelError
from bdc_agents.search.traces import Row

RECIPE, ROWS = "recipe.json", "rows.json"


def rows_of_experts(
    rows: Sequence[Row], labels: Mapping[str, int], experts: Mapping[str, int]
) -> dict[str, list[str]]:
    """The keys of the rows that each expert learns from: what `rows.json` holds.

    Args:
        labels: The cluster of each problem.
        experts: The cluster of each expert; -1 for the one on all rows.
    """
    return {
        name: sorted(row_key(row) for row in rows if cluster in (-1, labels.get(row.problem_id, -1)))
        for name, cluster in experts.items()
    }


def used_recipe(folder: Path | str) -> Recipe:
    """The recipe that a library was made with.

    Raises:
        ConfigError: If the library does not keep it.
        ModelError: If there is no library, or it is damaged.
    """
    library = ExpertLibrary(folder)
    if RECIPE not in library.manifest.files:
        raise ConfigError(
            f"library {library.folder} does not keep its recipe; name it with --recipe, as it was made"
        )
    try:
        return Recipe.model_validate(library.facts(RECIPE))
    except ValidationError as error:
        raise ConfigError(explain(error, str(library.folder / RECIPE), Recipe)) from None


def fitting_recipe(library: ExpertLibrary, recipe: Recipe) -> Recipe:
    """The recipe, whose adapters have the library's shape.

    Raises:
        ModelError: If they have another one.
    """
    shape, wanted = library.manifest.adapters, recipe.train.model_dump(mode="json")
    for key in AdapterConfig.model_fields:
        if key != "dropout" and shape.get(key) != wanted[key]:
            raise ModelError(
                f"library {library.folder} has adapters of {key} = {shape.get(key)!r}, and the recipe says "
                f"{wanted[key]!r}; go on with the library's own"
            )
    return recipe


class UpdatePlan:
    """What is new to whom, before anything is loaded."""

    def __init__(self, library: ExpertLibrary, recipe: Recipe, rows: Sequence[Row]) -> None:
        self.library, self.recipe, self.rows = library, recipe, rows
        self.keys = [row_key(row) for row in rows]
        self.clusters = library_clusters(library) if CLUSTERS in library.manifest.files else None
        self.experts = {expert.name: expert.cluster for expert in library.manifest.experts}
        self.learnt = self._learnt()
        known = frozenset().union(*self.learnt.values())
        labels = self.clusters.label_of() if self.clusters else {}
        # New to everyone; and those for which an expert waits, since it had too few of them.
        self.new = [row for row, key in zip(rows, self.keys, strict=True) if key not in known]
        self.waiting = [
            row
            for row, key in zip(rows, self.keys, strict=True)
            if any(
                key in known and key not in self.learnt[name]
                for name, cluster in self.experts.items()
                if cluster in (-1, labels.get(row.problem_id, -1))
            )
        ]

    def _learnt(self) -> dict[str, frozenset[str]]:
        """The rows that each expert was made from; by their problem where the library does not say."""
        if ROWS in self.library.manifest.files:
            told = self.library.facts(ROWS)
            return {name: frozenset(map(str, told.get(name, ()))) for name in self.experts}
        seen = frozenset(self.clusters.ids if self.clusters else ())
        old = frozenset(key for row, key in zip(self.rows, self.keys, strict=True) if row.problem_id in seen)
        return dict.fromkeys(self.experts, old)

    def old_known(self) -> tuple[int, int]:
        """How many of the rows that the library was made from are at hand, and how many there were."""
        before = frozenset().union(*self.learnt.values())
        return len(before & set(self.keys)), len(before)
