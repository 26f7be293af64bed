"""Reward models: given conversations that end in an action, return numbers."""
