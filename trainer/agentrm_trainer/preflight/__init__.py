"""Every mistake of a configuration that can be known beforehand, found before a stage begins."""
