"""A tiny random base, traces of two kinds of problems, and what is distilled from them."""

from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `distill`")
pytest.importorskip("peft", reason="training needs the extra `distill`")
pytest.importorskip("sklearn", reason="clustering needs the extra `distill`")

from bdc_agents.distill.recipe import Recipe  # noqa: E402
from bdc_agents.types import (  # noqa: E402
    Attempt,
    CallTest,
    Decision,
    Node,
    Problem,
    Program,
    Solution,
    TestResult,
    Trace,
    TreeStats,
    Verdict,
)


def make_trace(number: int, kept: bool = True) -> Trace:
    """A problem that was solved by a direct answer; of one of two kinds."""
    kind = (
        ("Reverse the string of letters and words", "return s[::-1]")
        if number % 2
        else ("Add the integer numbers of the list up to a sum", "return sum(s)")
    )
    code = f"def f{number}(s):\n    {kind[1]}  # {number}"
    passed = Verdict(results=(TestResult(outcome="passed", shown="f"),), tier="t")
    problem = Problem(
        id=f"p{number}",
        statement=f"{kind[0]}, variant {number}.",
        entry_point=f"f{number}",
        public_tests=(CallTest(call=f"f{number}([])", expected=("[]",)),),
    )
    solution = Solution(
        problem_id=problem.id,
        solved=True,
        code=code,
        reward=1.0,
        agent="a",
        node="0",
        verdict=passed,
        stopped_by="solved",
        tree=TreeStats(nodes=1, evaluated=1, pruned=0, refined=0, depth=0, programs=1, rollouts=1),
    )
    node = Node(value=1.0, attempts=(Attempt(program="k", agent="a", reward=1.0),))
    programs = {"k": Program(code=code, agent="a", verdict=passed)}
    return Trace(
        problem=problem, solution=solution, nodes=(node,), programs=programs, decision=Decision(kept=kept)
    )


@pytest.fixture(scope="session")
def trace() -> Callable[..., Trace]:
    """Makes the trace of a problem by its number."""
    return make_trace


@pytest.fixture(scope="session")
def base(tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with a tiny random Llama whose tokens are bytes."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.set_num_threads(1)
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    heads: dict[str, Any] = {"num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 300}
    folder = tmp_path_factory.mktemp("base")
    LlamaForCausalLM(LlamaConfig(**sizes, **heads)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session")
def recipe(base: str) -> Recipe:
    train = {"rank": 2, "epochs": 1, "batch": 4, "max_length": 256, "min_rows": 2, "dtype": "float32"}
    return Recipe.model_validate(
        {
            "name": "test",
            "base": {"model": base},
            "train": train | {"validation": 0.2, "tokens_per_pass": 512},
            "embed": {"model": "base", "cache": False},
            "cluster": {"method": "kmeans", "clusters": 2, "min_tokens": 10},
            "route": {"hidden": 8, "epochs": 1},
        }
    )
