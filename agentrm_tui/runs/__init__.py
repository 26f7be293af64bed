"""A run: the stream of events, the reducer that builds state from it, and what drives episodes."""
