"""Which number of which output of a model is the reward, as data: chosen, found in a folder, and read."""
