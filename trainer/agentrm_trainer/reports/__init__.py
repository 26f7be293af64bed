"""Statistics, tables and model cards."""
