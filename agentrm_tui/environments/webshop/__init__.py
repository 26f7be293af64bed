"""A shop in the text form of WebShop (arXiv 2207.01206) on an own generated catalogue: search, open, choose, buy."""

from agentrm_tui.environments.webshop.environment import WebShopEnvironment

__all__ = ["WebShopEnvironment"]
