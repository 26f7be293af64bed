"""The screen: reads state, sends commands, never touches a model."""
