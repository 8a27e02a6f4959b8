"""What each node of the graph does, a file a node; `nodes.py` has them all as methods of one class.

start           what must hold before a search is worth its budget
expand          agents propose thoughts; `ideas` tells which say something new
boost           agents write programs for a `path` of thoughts
execute         programs run on the public tests; `attempts` tells what became of them
backpropagate   values are carried up the tree
finish          the answer of the search, with `notes` beside it

What `select` does is the policy's: `bdc_agents.search.policy`.
"""
