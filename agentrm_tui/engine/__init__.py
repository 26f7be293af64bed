"""The child process that owns models and environments, and the link that commands it."""
