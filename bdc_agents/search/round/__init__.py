"""A round of the search: which calls it makes, and what each of them may spend.

step        what one step works with: settings, agents, what is left of the budget
plan        the calls of a round, kept in the state
round       makes that plan, and follows it
calls       asks the agents, and settles what each call took
budget      reserves what calls may take before any is made
clock       the wall time of a search
set_aside   which agents take no further part
"""
