"""Runs on the nodes of a Ray cluster: `--engine ray`.

connect   joins a cluster, or starts Ray on this machine
cluster   all that Ray is used for: nodes, actors on a node, one function where there is room
desk      the actor through which workers call the driver
node      the worker of one node, the base of all
spread    starts a worker on every node, until nothing is left
engine    the worker that searches, and the engine of `bdc collect --engine ray`
task      one long job that survives the loss of its node
"""
