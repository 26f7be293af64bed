"""An OpenAI-compatible endpoint: replies of a policy that a reward model has chosen, each conversation an episode."""
