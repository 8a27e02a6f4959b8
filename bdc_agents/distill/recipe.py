"""The knobs of training, and recipes: named sets of them as TOML files.

[base]
model = "local:smollm2-135m"

[train]
rank = 8
targets = ["q_proj", "v_proj"]
"""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from bdc_agents.config import explain
from bdc_agents.errors import ConfigError, ModelError, unknown
from bdc_agents.experts.library import ExpertLibrary
from bdc_agents.experts.manifest import AdapterConfig
from bdc_agents.types import Given
from bdc_agents.untrusted import read_toml

RECIPE = "recipe.json"
"""The file of a library that holds the recipe it was made with."""


class TrainConfig(AdapterConfig):
    """How the experts are trained; each as if it were trained alone.

    The defaults are a start, not measured, unless said otherwise; recipes replace them for each base.

    Args:
        learning_rate: The peak, between the warm-up and the cosine.
        expert_rate: The peak of experts that start from the shared adapter, as a share of `learning_rate`.
            A third gained nothing where the shared adapter was not trained to the end of its schedule
            (benchmarks/results/distill.md).
        warmup: Share of an expert's steps over which the learning rate rises.
        weight_decay, betas, eps: Of AdamW; betas and eps are torch's defaults.
        clip: Largest norm of an expert's gradient; None for no clipping.
        epochs: How often an expert sees its rows.
        max_steps: Most steps of the expert with the most rows; the others stop after the same share of
            theirs. None for no limit.
        batch: Rows of one expert in one of its steps.
        tokens_per_pass: Tokens, padding included, in one forward pass; bounds memory, and changes
            no result.
        max_length: Most tokens of one row; a longer prompt is cut in its middle.
        validation: Share of problems held out.
        patience: Epochs without improvement after which an expert stops; None for never.
        min_rows: Training rows that an expert needs.
        small: What happens to a cluster with fewer rows: an error, or its rows train only the shared
            adapter.
        shared: Whether one adapter is also trained on all rows.
        start: Where the experts of clusters begin: with the shared adapter, which is trained before
            them, or with weights of their own, at the same time (the paper, Section 3.2). A cluster
            has too few rows to learn what all clusters have in common. Both train on equally many
            tokens. Without a shared adapter it is `scratch`.
        dtype: Number format of the base; `auto` is bfloat16 if the hardware computes it, else float32.
        quantize: `nf4` keeps the base in 4 bits (QLoRA; needs a GPU).
        gradient_checkpointing: Compute activations twice instead of keeping them.
        checkpoint_steps: Steps between checkpoints; there is one after each epoch too.
        seed: Of the split, the order of rows, the initial weights and dropout.
    """

    learning_rate: float = Field(default=5e-4, gt=0)
    expert_rate: float = Field(default=1.0, gt=0)
    warmup: float = Field(default=0.05, ge=0, le=1)
    weight_decay: float = Field(default=0.0, ge=0)
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = Field(default=1e-8, gt=0)
    clip: float | None = Field(default=1.0, gt=0)
    epochs: int = Field(default=3, ge=1)
    max_steps: int | None = Field(default=None, ge=1)
    batch: int = Field(default=16, ge=1)
    tokens_per_pass: int = Field(default=4096, ge=16)
    max_length: int = Field(default=1024, ge=16)
    validation: float = Field(default=0.1, ge=0, lt=1)
    patience: int | None = Field(default=1, ge=1)
    min_rows: int = Field(default=8, ge=1)
    small: Literal["error", "shared"] = "error"
    shared: bool = True
    start: Literal["shared", "scratch"] = "shared"
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    quantize: Literal["nf4"] | None = None
    gradient_checkpointing: bool = False
    checkpoint_steps: int = Field(default=50, ge=1)
    seed: int = 42


ROW_KINDS: tuple[str, ...] = ("direct", "t2s", "p2t", "repair", "reference")
"""Kinds of rows to imitate; see `Row`."""


class RowsConfig(Given):
    """Which rows experts learn from; the table `[rows]` of a recipe.

    Args:
        kinds: Of `ROW_KINDS`.
        per_problem: Rows of one kind that a problem gives, at most; None for all. A problem with many right
            programs would else weigh more than the others.
        references: Which problems of `--references` give their known solution: those that no trace solves,
            or all.
    """

    kinds: tuple[Literal["direct", "t2s", "p2t", "repair", "reference"], ...] = Field(
        default=("direct", "t2s", "p2t", "repair", "reference"), min_length=1
    )
    per_problem: int | None = Field(default=None, ge=1)
    references: Literal["unsolved", "all"] = "unsolved"


class BaseConfig(Given):
    """Which base model the experts adapt; see `load_base`."""

    model: str = "local:smollm2-135m"
    revision: str | None = None


class Recipe(Given):
    """A recipe: the base, the training, and the settings of other stages as they are written.

    Args:
        teacher: Whose probabilities the experts learn besides (`TeacherConfig`); None for nobody's.
        dpo: Settings of the second phase on pairs of replies (`PreferenceConfig`); None leaves it out.
    """

    name: str
    base: BaseConfig = BaseConfig()
    rows: RowsConfig = RowsConfig()
    train: TrainConfig = TrainConfig()
    teacher: dict[str, Any] | None = None
    embed: dict[str, Any] = {}
    cluster: dict[str, Any] = {}
    route: dict[str, Any] = {}
    dpo: dict[str, Any] | None = None

    def identity(self) -> str:
        """All settings as text, which what they do not concern leaves as it was."""
        unset = {name for name in ("dpo", "teacher") if getattr(self, name) is None}
        return self.model_dump_json(exclude=unset | ({"rows"} if self.rows == RowsConfig() else set()))


def recipe_folders() -> tuple[Path, ...]:
    """Where recipes are looked for by name: beside this module, and in a checkout of the project."""
    here = Path(__file__).resolve().parent
    return here / "recipes", here.parents[1] / "experts" / "recipes"


def load_recipe(name: str | Path, **changes: Any) -> Recipe:
    """A recipe by its name, such as `tiny`, or by its file.

    Args:
        changes: Values of `[train]` that replace those of the recipe.

    Raises:
        ConfigError: If there is no such recipe or one of its values is not accepted.
    """
    file = _find(str(name))
    try:
        data = read_toml(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file}: not a recipe: {error}") from None
    data["train"] = data.get("train", {}) | changes
    try:
        return Recipe.model_validate({"name": file.stem} | data)
    except ValidationError as error:
        raise ConfigError(explain(error, str(file), Recipe)) from None


def _find(name: str) -> Path:
    if name.endswith(".toml"):
        return Path(name)
    known = {file.stem: file for folder in recipe_folders() for file in folder.glob("*.toml")}
    if name not in known:
        raise ConfigError(unknown("recipe", name, known) + "; or give a .toml file")
    return known[name]


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
    """Returns the recipe, if its adapters have the library's shape.

    Raises:
        ModelError: If they have another shape.
    """
    shape, wanted = library.manifest.adapters, recipe.train.model_dump(mode="json")
    for key in AdapterConfig.model_fields:
        if key != "dropout" and shape.get(key) != wanted[key]:
            raise ModelError(
                f"library {library.folder} has adapters of {key} = {shape.get(key)!r}, and the recipe says "
                f"{wanted[key]!r}; go on with the library's own"
            )
    return recipe
