"""Runs without a screen: from flags to a plan, the run in this process, and its events as text or data."""
