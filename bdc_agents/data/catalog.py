"""The data sets known by name: where their files are, on disk and on the hub, and what reads a row."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from bdc_agents.data.apps import apps_task, apps_train_task
from bdc_agents.data.codecontests import codecontests_task
from bdc_agents.data.humaneval import humaneval_plus_task, humaneval_task
from bdc_agents.data.leetcode import leetcode_task
from bdc_agents.data.livecodebench import livecodebench_task
from bdc_agents.data.mbpp import mbpp_plus_task, mbpp_sanitized_task, mbpp_task
from bdc_agents.types import Task

# The splits of MBPP's authors, by ids.
_MBPP_SPLITS = {
    "prompt": range(1, 11),
    "test": range(11, 511),
    "validation": range(511, 601),
    "train": range(601, 975),
}


@dataclass(frozen=True)
class Hub:
    """Where the hub has a data set.

    Args:
        repo: Its name there.
        config, split: Arguments of `datasets.load_dataset`.
        files: JSON Lines files to read instead, for data sets that came with a loading script,
            which `datasets` no longer runs.
        revision: The commit that has these files.
        streaming: Read row by row instead of downloading first: for the large ones.
    """

    repo: str
    config: str | None = None
    split: str = "test"
    files: tuple[str, ...] = ()
    revision: str | None = None
    streaming: bool = False


@dataclass(frozen=True)
class Dataset:
    """One data set.

    Args:
        read: From a raw row and its source to a task.
        files: Patterns relative to the data folder; the first that matches anything is used.
        id_fields: The row's fields that name a problem, `outer.inner` for one within another; the first
            present is the canonical one.
        joined: Patterns of a file whose rows add fields to the rows of the same id.
        splits: Ranges of numeric ids, or a part of the names of the files that hold a split.
        origin: Who publishes it, for those who have no file of it.
    """

    read: Callable[[Any, str], Task]
    files: tuple[str, ...]
    hub: Hub
    origin: str
    id_fields: tuple[str, ...] = ("task_id",)
    joined: tuple[str, ...] = ()
    splits: Mapping[str, range | str] = field(default_factory=dict)


_PUBLIC_TESTS = ("humaneval/public_tests.jsonl", "public_tests.jsonl")
_APPS = "codeparrot/apps"
_APPS_REVISION = "21e74ddf8de1a21436da12e3e653065c5213e9d1"
_APPS_IDS = ("problem_id", "id", "name")
_CONTEST_IDS = ("id", "name")
_CODE_CONTESTS = "deepmind/code_contests"
_LCB_FILES = ("test.jsonl", *(f"test{number}.jsonl" for number in range(2, 7)))

DATASETS: dict[str, Dataset] = {
    "humaneval": Dataset(
        read=humaneval_task,
        files=("humaneval/HumanEval.jsonl", "HumanEval.jsonl"),
        hub=Hub("openai/openai_humaneval"),
        origin="openai/human-eval on GitHub has HumanEval.jsonl.gz",
        joined=_PUBLIC_TESTS,
    ),
    "humaneval+": Dataset(
        read=humaneval_plus_task,
        files=(
            "humaneval/HumanEvalPlus.jsonl",
            "HumanEvalPlus.jsonl",
            "humaneval/HumanEvalPlus-v*.jsonl",
            "HumanEvalPlus-v*.jsonl",
        ),
        hub=Hub("evalplus/humanevalplus"),
        origin="evalplus/humanevalplus_release on GitHub has HumanEvalPlus.jsonl.gz",
        joined=_PUBLIC_TESTS,
    ),
    "mbpp": Dataset(
        read=mbpp_task,
        files=("mbpp/mbpp.jsonl", "mbpp.jsonl"),
        hub=Hub("google-research-datasets/mbpp", "full", "prompt+test+validation+train"),
        origin="google-research/google-research on GitHub has mbpp/mbpp.jsonl",
        splits=_MBPP_SPLITS,
    ),
    "mbpp-sanitized": Dataset(
        read=mbpp_sanitized_task,
        files=("mbpp/sanitized-mbpp.json", "sanitized-mbpp.json"),
        hub=Hub("google-research-datasets/mbpp", "sanitized", "prompt+test+validation+train"),
        origin="google-research/google-research on GitHub has mbpp/sanitized-mbpp.json",
        splits=_MBPP_SPLITS,
    ),
    "mbpp+": Dataset(
        read=mbpp_plus_task,
        files=("mbpp/MbppPlus.jsonl", "MbppPlus.jsonl", "mbpp/MbppPlus-v*.jsonl", "MbppPlus-v*.jsonl"),
        hub=Hub("evalplus/mbppplus"),
        origin="evalplus/mbppplus_release on GitHub has MbppPlus.jsonl.gz",
        splits=_MBPP_SPLITS,
    ),
    "apps": Dataset(
        read=apps_task,
        files=("apps/test.jsonl", "apps/apps*.jsonl", "apps/[!t]*.jsonl", "apps*.jsonl"),
        hub=Hub(_APPS, files=("test.jsonl",), revision=_APPS_REVISION),
        origin="codeparrot/apps on the Hugging Face hub has test.jsonl",
        id_fields=_APPS_IDS,
    ),
    "apps-train": Dataset(
        read=apps_train_task,
        files=("apps/train.jsonl",),
        hub=Hub(_APPS, files=("train.jsonl",), revision=_APPS_REVISION),
        origin="codeparrot/apps on the Hugging Face hub has train.jsonl",
        id_fields=_APPS_IDS,
    ),
    "codecontests": Dataset(
        read=codecontests_task,
        files=("codecontests/*.jsonl", "codecontests*.jsonl", "code_contests*.jsonl"),
        hub=Hub(_CODE_CONTESTS, streaming=True),
        origin="deepmind/code_contests on the Hugging Face hub; write its rows as JSON Lines",
        id_fields=_CONTEST_IDS,
    ),
    "livecodebench": Dataset(
        read=livecodebench_task,
        files=("livecodebench/*.jsonl", "livecodebench*.jsonl", "code_generation_lite/*.jsonl"),
        hub=Hub("livecodebench/code_generation_lite", files=_LCB_FILES),
        origin="livecodebench/code_generation_lite on the Hugging Face hub has test.jsonl and its successors",
        id_fields=("question_id", "question_title"),
    ),
    "leetcode": Dataset(
        read=leetcode_task,
        files=("leetcode/*.jsonl", "leetcode*.jsonl", "LeetCodeDataset*.jsonl"),
        hub=Hub("newfacade/LeetCodeDataset", split="test+train"),
        origin="newfacade/LeetCodeDataset on the Hugging Face hub has a file for each split",
        id_fields=("task_id", "question_id", "meta.question_id"),
        splits={"test": "test", "train": "train"},
    ),
}
