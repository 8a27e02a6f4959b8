"""Tests written as code, for the adapters of data sets; a problem reads its tests with the same functions."""

from bdc_agents.types.asserts import (
    asserts_something,
    call_of,
    called_names,
    case_from_assert,
    entry_point_of,
)

__all__ = ["asserts_something", "call_of", "called_names", "case_from_assert", "entry_point_of"]
