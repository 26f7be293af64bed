"""What a person can do on each screen, one file a screen; `agentrm_tui.ui.actions` is the registry of them."""
