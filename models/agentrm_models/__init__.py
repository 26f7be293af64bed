"""Language models behind two stateless interfaces: policies propose replies, reward models score them."""
