"""The configuration: where it lies, every setting with its type and default, and the rules between them."""
