"""Collecting: search every problem of some data sets, on one machine or many, and resume what was cut off.

run             opens a run folder, has the engine work, reports (`acollect`)
resume          how a run goes on after a kill: same configuration, table made to agree with the traces
configuration   what the folder records of a run
selection       which problems; `left_out` has those that are not searched, and why
engine          does the work in this process; `runs/ray` on the nodes of a cluster
coordinator     owns job table and trace file, and serves the workers
worker          takes problems, searches them, hands traces back
endpoints       the agents of a run, with slots and the run's budget
progress        counts, solve rate, time left
"""
