"""LeetCodeDataset: classes with one method, graded as the set's own check does."""

import pytest

from bdc_agents.data import load_task, load_tasks, task_ids
from bdc_agents.data.leetcode import leetcode_task
from bdc_agents.errors import ProblemError
from bdc_agents.prompts import describe, write_program
from bdc_agents.runs.collect.selection import Filter, select_jobs
from bdc_agents.sandbox.frames import keeps_state
from bdc_agents.search.choice.inputs import further_inputs
from bdc_agents.types import ScriptTest

NODES = """
class ListNode:
    def __init__(self, val=0, next=None):
        self.val = val
        self.next = next

def list_node(values: list):
    head = None
    for value in reversed(values):
        head = ListNode(value, head)
    return head

def is_same_list(p1, p2):
    if p1 is None and p2 is None:
        return True
    if not p1 or not p2:
        return False
    return p1.val == p2.val and is_same_list(p1.next, p2.next)

class TreeNode:
    def __init__(self, val=0, left=None, right=None):
        self.val = val
        self.left = left
        self.right = right

def tree_node(values: list):
    if not values:
        return None
    root = TreeNode(values[0])
    i = 1
    queue = deque()
    queue.append(root)
    while queue:
        node = queue.popleft()
        if i < len(values) and values[i] is not None:
            node.left = TreeNode(values[i])
            queue.append(node.left)
        i += 1
        if i < len(values) and values[i] is not None:
            node.right = TreeNode(values[i])
            queue.append(node.right)
        i += 1
    return root
"""
PROMPT = f"from typing import *\nfrom collections import *\nfrom math import *\ninf = float('inf')\n{NODES}"


def row(*asserts, method="f", **fields):
    usual = {
        "task_id": "a-slug",
        "question_id": 7,
        "prompt": PROMPT,
        "entry_point": f"Solution().{method}",
        "test": "def check(candidate):\n" + "".join(f"    {line}\n" for line in asserts),
        "completion": "",
        "problem_description": "Do it.",
        "starter_code": f"class Solution:\n    def {method}(self, nums: List[int]) -> int:\n        ",
        "difficulty": "Easy",
        "tags": ["Array", "Hash Table"],
    }
    return usual | fields


def calls(task):
    return [test.call for test in task.hidden.reveal()]


TWO_SUM = [f"assert candidate(nums = [{n}, 7, 11], target = {n + 7}) == [0, 1]" for n in range(1, 7)]
STATEMENT = (
    "Find two.\n\nExample 1:\n\nInput: nums = [3,7,11], target = 10\nOutput: [0,1]\n\n"
    "Example 2:\nInput: nums = [5, 7, 11], target = 12\nOutput: [0,1]\nExplanation: so.\n"
)


def test_the_examples_of_the_statement_are_public_and_the_rest_is_hidden():
    task = leetcode_task(row(*TWO_SUM, problem_description=STATEMENT))
    assert [test.call for test in task.problem.public_tests] == [
        "Solution().f(nums = [3, 7, 11], target = 10)",
        "Solution().f(nums = [5, 7, 11], target = 12)",
    ]
    assert len(task.hidden) == 4
    assert (task.problem.id, task.problem.difficulty) == ("leetcode:a-slug", "Easy")
    assert task.problem.tags == ("Array", "Hash Table")


def test_line_ends_within_texts_do_not_matter():
    odd = [
        "assert candidate(s = 'a\x0c\u2028b', t = [1,\n  2]) == 'é\x85'",
        "assert candidate(s = 'é', t = []) == ''",
    ]
    task = leetcode_task(row(*odd) | {"prompt": PROMPT.replace("\n", "\r\n")})
    [first, second] = task.problem.public_tests + task.hidden.reveal()
    assert (first.call, first.expected) == (
        "Solution().f(s = 'a\x0c\u2028b', t = [1,\n  2])",
        ("'é\x85'",),
    )
    assert second.call == "Solution().f(s = 'é', t = [])"


@pytest.mark.parametrize(("count", "public"), [(1, 1), (2, 1), (3, 1), (4, 2), (5, 2), (6, 3)])
def test_without_examples_the_first_half_of_a_few_tests_is_public(count, public):
    query = (
        "Find two.\n\nPlease complete the following python code precisely:\n```python\nclass Solution:\n"
        "    def f(self):\n```"
    )
    old = row(*TWO_SUM[:count], problem_description="", query=query, starter_code="", difficulty=None)
    old |= {
        "meta": {"question_id": 1, "difficulty": "Hard", "lang_code": "class Solution:\n    def f(self):"}
    }
    task = leetcode_task(old)
    assert (len(task.problem.public_tests), len(task.hidden)) == (public, count - public)
    assert (task.problem.statement, task.problem.difficulty) == ("Find two.", "Hard")
    assert task.problem.starter_code == "class Solution:\n    def f(self):"


def test_the_prompt_asks_for_the_class():
    problem = leetcode_task(row(*TWO_SUM, problem_description=STATEMENT)).problem
    asked = write_program(problem, ())[-1].content
    assert "the complete Python class `Solution` with the imports it needs" in asked
    assert "class Solution:\n    def f(self, nums: List[int]) -> int:" in describe(problem)
    assert "Solution().f(nums = [3, 7, 11], target = 10) == [0, 1]" in asked
    assert "4, 7, 11" not in asked


def test_further_inputs_are_made_for_the_method():
    problem = leetcode_task(row(*TWO_SUM, problem_description=STATEMENT)).problem
    inputs = further_inputs(problem)
    assert len(inputs) > 8
    assert all(test.call.count("Solution().f(nums=") == 1 for test in inputs)


SUM = """
class Solution:
    def f(self, nums):
        return sum(nums)
"""


async def test_each_assert_is_a_test_and_values_are_compared_by_equality(run):
    task = leetcode_task(
        row(
            "assert candidate(nums = [1, 2]) == 3",
            "assert candidate(nums = [0.1, 0.2]) == 0.3",
            "assert candidate(nums = [inf]) == inf",
            "assert candidate(nums = [-inf, 1]) == -inf",
            "assert candidate(nums = [1, 2, 3]) == True",
        )
    )
    verdict = await run(task, SUM)
    outcomes = [result.outcome for result in verdict.results]
    assert outcomes == ["passed", "wrong", "passed", "passed", "wrong"], (
        "0.1 + 0.2 is not 0.3, as in the set's check"
    )


LISTS = """
class Solution:
    def f(self, head):
        new = None
        while head:
            new = ListNode(head.val, new)
            head = head.next
        return new
"""
OWN_NODE = f"""
class ListNode:
    def __init__(self, val=0, next=None):
        self.val, self.next = val, next
{LISTS}"""
ENDLESS = """
class Solution:
    def f(self, head):
        if head:
            head.next = head
        return head
"""
REVERSED = [
    "assert is_same_list(candidate(head = list_node([1, 2, 3])), list_node([3, 2, 1]))",
    "assert is_same_list(candidate(head = list_node([])), list_node([]))",
    "assert is_same_list(candidate(head = list_node([5])), list_node([5]))",
]


async def test_lists_of_nodes_leave_as_plain_lists(run):
    task = leetcode_task(row(*REVERSED))
    assert calls(task)[0] == "list_values(Solution().f(head = list_node([])))"
    for code in (LISTS, OWN_NODE):
        assert (await run(task, code)).passed
    for wrong in ("return None", "return head", "return [3, 2, 1]", "return 1"):
        code = LISTS.replace("return new", wrong)
        assert [result.outcome for result in (await run(task, code)).results].count("passed") < 3
    assert not (await run(task, ENDLESS)).passed


MIRROR = """
class Solution:
    def f(self, root):
        if root:
            root.left, root.right = self.f(root.right), self.f(root.left)
        return root
"""
MIRRORED = [
    "assert is_same_tree(candidate(root = tree_node([1, 2, 3])), tree_node([1, 3, 2]))",
    "assert is_same_tree(candidate(root = tree_node([1, 2, None, 3])), tree_node([1, None, 2, None, 3]))",
    "assert is_same_tree(candidate(root = tree_node([])), tree_node([]))",
    "assert is_same_tree(candidate(root = tree_node([1, None, 2, 3])), tree_node([1, 2, None, None, 3]))",
    "assert is_same_tree(candidate(root = tree_node([1, None, None])), tree_node([1, None]))",
]


async def test_trees_leave_as_plain_lists(run):
    task = leetcode_task(row(*MIRRORED))
    verdict = await run(task, MIRROR)
    assert verdict.passed, verdict.failures
    wrong = await run(task, "class Solution:\n    def f(self, root):\n        return root\n")
    assert [result.outcome for result in wrong.results] == ["wrong", "wrong", "passed", "wrong", "passed"]


CHEAT = """
import gc, sys
class Solution:
    def f(self, nums):
        frame, seen = sys._getframe(), []
        while frame:
            seen += [*frame.f_locals.values(), *frame.f_globals.values()]
            frame = frame.f_back
        seen += gc.get_objects()
        found = [one for one in seen if one == [424242, 7] or "424242" in str(one)[:9999]]
        return found[0] if found else None
"""


async def test_no_program_meets_what_is_expected_of_it(run):
    task = leetcode_task(row("assert candidate(nums = []) == [424242, 7]"))
    assert not (await run(task, CHEAT)).passed


async def test_what_is_no_list_of_asserts_runs_as_the_sets_own_check(run):
    task = leetcode_task(row("for n in range(3):", "    assert candidate(nums = [n]) == n"))
    [test] = task.problem.public_tests + task.hidden.reveal()
    assert isinstance(test, ScriptTest)
    assert (await run(task, SUM, (test,))).passed
    assert not (await run(task, SUM.replace("sum", "len"), (test,))).passed


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"entry_point": "twoSum"}, 'entry_point: not a method of a class, such as "Solution().twoSum"'),
        ({"entry_point": "Solution().f; import os"}, "entry_point"),
        ({"test": "assert f(1) == 2"}, "does not end in a function check"),
        ({"test": "def check(candidate:"}, "does not end in a function check"),
        ({"test": None}, "test: "),
        ({"task_id": ""}, "task_id"),
        ({"problem_description": "", "query": ""}, "statement"),
    ],
)
def test_a_row_that_cannot_be_used_is_explained(fields, told):
    with pytest.raises(ProblemError) as caught:
        leetcode_task(row(*TWO_SUM) | fields, "rows.jsonl:1")
    assert told in str(caught.value)
    assert "rows.jsonl:1" in str(caught.value)


@pytest.fixture
def folder(write):
    test = [row(*TWO_SUM, task_id=f"new-{n}", question_id=3000 + n) for n in range(3)]
    train = [
        {
            k: v
            for k, v in row(*TWO_SUM, task_id=f"old-{n}", difficulty=None, tags=None).items()
            if k != "question_id"
        }
        | {"meta": {"question_id": n, "difficulty": "Hard"}}
        for n in range(1, 4)
    ]
    write("leetcode/train_3.jsonl", *train)
    return write("leetcode/test_3.jsonl", *test).parents[1]


def test_problems_are_selected_by_slug_number_range_split_tag_and_difficulty(folder):
    def ids(address, *filters):
        jobs = select_jobs([address], data=folder, filters=[Filter.parse(text) for text in filters]).jobs
        return [job.id.removeprefix("leetcode:") for job in jobs]

    assert load_task("leetcode:3001", data=folder).problem.id == "leetcode:new-1"
    assert load_task("leetcode:2", data=folder).problem.id == "leetcode:old-2"
    assert ids("leetcode:test") == ["new-0", "new-1", "new-2"]
    assert ids("leetcode:train") == ["old-1", "old-2", "old-3"]
    assert ids("leetcode:old-3,new-1") == ["new-1", "old-3"]
    assert ids("leetcode:2-3001") == ["new-0", "new-1", "old-2", "old-3"]
    assert ids("leetcode", "difficulty=hard") == ["old-1", "old-2", "old-3"]
    assert ids("leetcode", "tag=hash table") == ["new-0", "new-1", "new-2"]


def test_the_real_rows(data):
    split = {name: list(task_ids("leetcode", data=data, split=name)) for name in ("test", "train")}
    assert {name: len(ids) for name, ids in split.items()} == {"test": 114, "train": 1890}
    for task in load_tasks("leetcode", data=data, ids=[*split["test"][::20], *split["train"][3::200]]):
        shown = {test.call for test in task.problem.public_tests}
        assert 1 <= len(shown) <= 8
        assert len(task.hidden) >= 1
        assert shown.isdisjoint(calls(task))
        assert task.problem.entry_point == "Solution"
        assert "class Solution" in task.problem.starter_code
        assert "### " not in task.problem.statement
        assert "Please complete" not in task.problem.statement
        assert "from math import inf" in task.problem.preamble
        assert "def is_same_tree" not in task.problem.preamble
        assert not keeps_state(task.problem.preamble), "else each test has a process of its own"
        assert task.problem.difficulty in ("Easy", "Medium", "Hard")
    nodes = load_task("leetcode:add-two-numbers", data=data).problem
    assert "def list_values" in nodes.preamble
    assert "def tree_values" not in nodes.preamble


async def test_known_solutions_of_nodes_pass(data, run):
    for slug in ("add-two-numbers", "invert-binary-tree", "balance-a-binary-search-tree"):
        task = load_task(f"leetcode:{slug}", data=data)
        verdict = await run(task, task.hidden.reveal_reference())
        assert verdict.passed, (slug, verdict.failures)
