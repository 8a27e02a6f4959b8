"""Losses on held-out rows, of every expert on every cluster, and what they say."""

from collections.abc import Collection, Mapping, Sequence

from bdc_agents.distill.training.loss import BASE, RowLoss, count_target_tokens, row_sums
from bdc_agents.experts.devices import Processes

Losses = dict[str, dict[str, float]]
"""Mean loss of a completion token: by expert, then by cluster."""


def mean_losses(
    loss: RowLoss, held: Mapping[int, Sequence[int]], tokens: int, processes: Processes
) -> dict[int, float]:
    """The mean loss of a completion token for each expert on some rows, without dropout.

    Args:
        held: Rows by expert; `BASE` for the base alone.
        tokens: Padded tokens in one forward pass.
    """
    sums = _row_sums(loss, held, tokens, processes)
    counts = {expert: count_target_tokens(loss.rows, rows) for expert, rows in held.items()}
    return {expert: sum(sums[expert].values()) / counts[expert] for expert in held if counts[expert]}


def cross_losses(
    loss: RowLoss, names: Sequence[str], held: Sequence[int], tokens: int, processes: Processes
) -> Losses:
    """The mean loss of the base and every expert on the held-out rows of every cluster.

    Args:
        names: Of the experts.
        held: The held-out rows.
        tokens: Padded tokens in one forward pass.

    Returns:
        By expert, `base` among them, then by cluster: `cluster-0`, `none` for rows of no cluster,
        `all` for all rows; empty without held-out rows.
    """
    if not held:
        return {}
    sums = _row_sums(loss, dict.fromkeys((BASE, *range(len(names))), held), tokens, processes)
    groups: dict[str, list[int]] = {}
    for n in sorted(held, key=lambda n: (loss.rows[n].cluster < 0, loss.rows[n].cluster)):
        cluster = loss.rows[n].cluster
        groups.setdefault("none" if cluster < 0 else f"cluster-{cluster}", []).append(n)
    groups["all"] = list(held)
    learnt = {name: count_target_tokens(loss.rows, rows) for name, rows in groups.items()}
    return {
        ("base" if expert == BASE else names[expert]): {
            name: sum(sums[expert][n] for n in rows) / learnt[name] for name, rows in groups.items()
        }
        for expert in sums
    }


def verdict(
    losses: Losses, tokens: Mapping[str, int], shared: str = "shared", same: Collection[str] = ()
) -> list[str]:
    """In words, whether each expert is the best one on its own cluster; one sentence each.

    Args:
        losses: Of `cross_losses`.
        tokens: That each expert was trained on.
        shared: The name of the expert trained on all rows.
        same: Experts whose weights are those of the one trained on all rows.
    """
    experts = [name for name in losses if name.startswith("cluster-")]
    sentences = [
        f"{name}: still the same as {shared}: its {tokens[name]:,} tokens did not improve it further."
        for name in experts
        if name in same
    ]
    for name in (n for n in experts if n in losses[n] and n not in same):
        own = losses[name][name]
        others = {other: losses[other][name] for other in losses if other != name and other not in same}
        better = {other: value for other, value in others.items() if value <= own}
        if not better:
            sentences.append(f"{name}: best on its own cluster ({own:.3f}).")
            continue
        listed = ", ".join(
            f"{other} {value:.3f}" for other, value in sorted(better.items(), key=lambda p: p[1])
        )
        sentences.append(
            f"{name}: not the best on its own cluster ({own:.3f}, trained on {tokens[name]:,} tokens); "
            f"lower: {listed}." + (f" {shared} had {tokens[shared]:,} tokens." if shared in better else "")
        )
    sentences += [f"{name}: no held-out row in its cluster." for name in experts if name not in losses[name]]
    if shared not in losses and experts:
        sentences.append("No expert was trained on all rows, so none can be compared with it.")
    return sentences


def _row_sums(
    loss: RowLoss, held: Mapping[int, Sequence[int]], tokens: int, processes: Processes
) -> dict[int, dict[int, float]]:
    """The summed loss of each row under each expert."""
    pairs = [(row, expert) for expert, rows in held.items() for row in rows]
    found: dict[int, dict[int, float]] = {expert: {} for expert in held}
    for (row, expert), value in zip(pairs, row_sums(loss, pairs, tokens, processes).tolist(), strict=True):
        found[expert][row] = value
    return found
