"""Models, losses, the optimiser, and how training is spread over processes."""
