"""Policies: given a conversation, propose candidate replies."""
