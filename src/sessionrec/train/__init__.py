"""Training: one plain loop, its optimizers, its checkpoints."""
