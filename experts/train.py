"""Trains one LoRA expert for each cluster, and one on all rows, in one pass; writes a library.

    python experts/train.py ROWS.jsonl --clusters clusters.json --recipe tiny --out experts/library/mine

ROWS is what `bdc export --kind sft` writes, or a run folder. Without --clusters, one adapter is
trained on all rows. Run it again to go on after a kill; `accelerate launch` spreads it over GPUs.
"""

import argparse
from hashlib import sha256
from pathlib import Path

import torch

from bdc_agents.distill.recipe import load_recipe
from bdc_agents.distill.save import save_library
from bdc_agents.distill.training.curves import live_losses
from bdc_agents.distill.training.experts import train_experts
from bdc_agents.distill.training.rows import read_rows, training_rows
from bdc_agents.experts.base import load_base
from bdc_agents.experts.clusters import Clusters
from bdc_agents.experts.devices import Processes, idle_cores
from bdc_agents.runs import read_traces


def main() -> None:
    """Reads the arguments and trains."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("rows", type=Path)
    parser.add_argument("--clusters", type=Path)
    parser.add_argument("--recipe", default="tiny")
    parser.add_argument("--base", help="instead of the recipe's")
    parser.add_argument("--threads", type=int, help="on a CPU; by default as many as are idle")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    torch.set_num_threads(given.threads or idle_cores())
    recipe = load_recipe(given.recipe)
    folder = given.rows.is_dir()
    rows = training_rows(read_traces(given.rows)) if folder else read_rows(given.rows)
    clusters = Clusters.load(given.clusters).label_of() if given.clusters else {}
    name, train = given.base or recipe.base.model, recipe.train
    base = load_base(name, revision=recipe.base.revision, dtype=train.dtype, quantize=train.quantize)
    with live_losses() as watch:
        trained = train_experts(rows, clusters, base, given.out.with_suffix(".work"), train, watch=watch)
    if not Processes().main:
        return
    files = {"clusters.json": given.clusters.read_bytes()} if given.clusters else {}
    source = given.rows / "trace.jsonl" if folder else given.rows
    lineage = {"traces" if folder else "exported rows": sha256(source.read_bytes()).hexdigest()}
    library = save_library(given.out, trained, files=files, lineage=lineage)
    print(f"{library.folder}: {', '.join(library.names)}")


if __name__ == "__main__":
    main()
