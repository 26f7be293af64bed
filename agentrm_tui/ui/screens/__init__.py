"""The screens: launcher, episode, and the small dialogs over them."""
