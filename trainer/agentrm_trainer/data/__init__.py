"""What is learnt from: tasks, trajectories, labels, and how they become tokens."""
