"""The job table of a run: which problem is waiting, leased, done or failed; it outlives every process."""
