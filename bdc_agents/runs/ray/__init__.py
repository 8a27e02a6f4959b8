"""Work on the nodes of a Ray cluster: what `--engine ray` does.

connect   joins a cluster, or starts a Ray of this machine
cluster   what Ray is used for: its nodes, an actor on a node, one function where there is room
desk      how workers call the driver: an actor between them
worker    what a run is on one node, whatever is done there
spread    a worker on every node, until nothing is left
search    searching: the worker, and the engine of `bdc collect`
task      one long job that survives its node
"""
