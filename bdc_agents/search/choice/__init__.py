"""Which of the programs that pass is handed over: further inputs, agreement on them, a question if they differ."""
