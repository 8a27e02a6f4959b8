"""The job table of a run: the state of each problem, in SQLite or Postgres."""
