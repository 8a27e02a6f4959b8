"""Which move is next: P-UCB over beliefs, the published walk, reflection, and values carried up the tree."""
