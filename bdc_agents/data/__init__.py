"""Data sets: loads problems with their tests by an address such as `mbpp:601`, or from a JSONL file."""

from bdc_agents.data.jsonl import json_schema, problem_from_statement, task_from_dict, task_from_statement
from bdc_agents.data.load import dataset_names, has_task, load_task, load_tasks, task_ids, task_names

__all__ = [
    "dataset_names",
    "has_task",
    "json_schema",
    "load_task",
    "load_tasks",
    "problem_from_statement",
    "task_from_dict",
    "task_from_statement",
    "task_ids",
    "task_names",
]
