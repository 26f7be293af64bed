"""The panes of the episode screen; each draws one immutable view."""
