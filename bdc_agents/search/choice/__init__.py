"""Which of the programs that pass is handed over: further inputs, agreement on them, and a question."""
