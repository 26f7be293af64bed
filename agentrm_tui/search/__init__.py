"""Search algorithms as pure generators: they read a tree and yield requests, and never call a model."""
