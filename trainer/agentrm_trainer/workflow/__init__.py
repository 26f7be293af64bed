"""How stages are run: folders, order, workers, resumption."""
