"""Cheats: programs that tell the inputs of the public tests apart instead of solving the problem."""

from bdc_agents.runs.cheats.rules import Sign, signs, special_cases

__all__ = ["Sign", "signs", "special_cases"]
