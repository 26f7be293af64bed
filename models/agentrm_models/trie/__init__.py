"""Prefix caches: every unique token of a search tree is computed once."""
