"""Drive language-model agents through text environments and watch how they search."""

__version__ = "0.1.0"
