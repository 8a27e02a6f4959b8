"""What the held-out losses say, in words."""

from bdc_agents.distill.training.cross_losses import verdict

TOKENS = {"cluster-0": 100, "cluster-1": 50, "shared": 150}


def table(**losses: tuple[float, float]) -> dict[str, dict[str, float]]:
    return {
        name.replace("_", "-"): {"cluster-0": a, "cluster-1": b, "all": (a + b) / 2}
        for name, (a, b) in losses.items()
    }


def test_an_expert_that_is_best_on_its_own_cluster_is_said_to_be() -> None:
    losses = table(base=(3, 3), cluster_0=(1, 2), cluster_1=(2, 1), shared=(1.5, 1.5))
    assert verdict(losses, TOKENS) == [
        "cluster-0: best on its own cluster (1.000).",
        "cluster-1: best on its own cluster (1.000).",
    ]


def test_one_that_is_not_is_said_not_to_be_and_what_it_had_to_learn_from() -> None:
    losses = table(base=(3, 3), cluster_0=(1, 2), cluster_1=(2, 1.6), shared=(1.2, 1.5))
    assert verdict(losses, TOKENS)[1] == (
        "cluster-1: not the best on its own cluster (1.600, trained on 50 tokens); lower: shared 1.500. "
        "shared had 150 tokens."
    )


def test_what_cannot_be_compared_is_said() -> None:
    losses = {"base": {"cluster-0": 2.0}, "cluster-0": {"cluster-0": 1.0}, "cluster-1": {"cluster-0": 3.0}}
    assert verdict(losses, TOKENS)[1:] == [
        "cluster-1: no held-out row in its cluster.",
        "No expert was trained on all rows, so none can be compared with it.",
    ]
