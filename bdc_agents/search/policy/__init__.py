"""Which move is next, and who makes it.

moves     walks by P-UCB over beliefs to the moves of a round: the policy of today
select    walks by P-UCB to leaves, as published
p_ucb     the formula of both
beliefs   what a move by an agent leads to
bandit    which agents are asked
reflect   a thought that did not help is refined or pruned
ratings   how good agents think their own thoughts are
"""
