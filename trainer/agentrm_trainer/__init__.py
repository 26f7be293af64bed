"""Train policies and reward models for agents: collect, sft, explore, label, fit, evaluate."""
