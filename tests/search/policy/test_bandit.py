from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from bdc_agents.config import SearchConfig
from bdc_agents.search.policy.bandit import Role, choose_agents

AGENTS = ["small", "large"]


def chosen(
    config: SearchConfig, credit: dict[str, dict[str, list[float]]], role: str = "coder"
) -> Counter[str]:
    picks = (choose_agents(AGENTS, credit, ("p", f"0.{n}"), config, role) for n in range(300))  # type: ignore[arg-type]
    return Counter(pick[0] for pick in picks if len(pick) == 1)


def test_without_a_bandit_and_for_the_first_answers_all_agents_are_asked() -> None:
    assert choose_agents(AGENTS, {}, ("p", "0.1"), SearchConfig(bandit=None)) == AGENTS
    assert choose_agents(AGENTS, {}, ("p", "0.1"), SearchConfig(bandit=2)) == AGENTS
    assert choose_agents(AGENTS, {}, ("p", "0"), SearchConfig()) == AGENTS
    assert len(choose_agents(AGENTS, {}, ("p", "0"), SearchConfig(), "author")) == 1


def test_further_direct_answers_are_asked_of_the_better_agent_mostly() -> None:
    config = SearchConfig(skills={"small": 0.15, "large": 0.5})
    picks = Counter(
        agent for n in range(1, 300) for agent in choose_agents(AGENTS, {}, ("p", "0"), config, "coder", n)
    )
    assert picks["large"] > 240
    assert picks["small"] > 0


def test_unknown_agents_are_asked_alike() -> None:
    assert 110 < chosen(SearchConfig(), {})["large"] < 190


def test_the_same_node_of_other_problems_is_another_draw() -> None:
    first = Counter(
        choose_agents(AGENTS, {}, (f"mbpp:{n}", "0.0"), SearchConfig(), role)[0]
        for n in range(300)
        for role in ("author", "coder")
    )
    assert 240 < first["large"] < 360


def test_skills_are_where_the_bandit_starts() -> None:
    picks = chosen(SearchConfig(skills={"small": 0.15, "large": 0.5}), {})
    assert picks["large"] > 240
    assert picks["small"] > 0


def test_what_improved_outweighs_skills_in_the_end() -> None:
    credit = {"large": {"small": [40.0, 30.0, 30.0], "large": [40.0, 2.0, 2.0]}}
    assert chosen(SearchConfig(skills={"small": 0.15, "large": 0.5}), credit)["small"] > 290


def test_authors_and_coders_are_counted_apart() -> None:
    credit = {"small": {"large": [30.0, 25.0, 25.0]}, "large": {"large": [30.0, 0.0, 0.0]}}
    assert chosen(SearchConfig(), credit, "author")["small"] > 290


@given(st.integers(1, 3), st.integers(0, 10**6))
def test_as_many_agents_as_wanted_in_their_own_order(count: int, node: int) -> None:
    names = ["a", "b", "c"]
    picked = choose_agents(names, {}, ("p", f"0.{node}"), SearchConfig(bandit=count))
    assert len(picked) == count
    assert picked == [name for name in names if name in picked]


def test_leaves_at_once_need_as_many_thoughts_to_choose_from() -> None:
    def asked(leaves: int, role: Role) -> int:
        return len(choose_agents(["a", "b", "c"], {}, ("p", "0.1"), SearchConfig(), role, leaves=leaves))

    assert [asked(leaves, "author") for leaves in (1, 5, 6, 8, 11)] == [1, 1, 2, 2, 3]
    assert asked(8, "coder") == 1
