"""Doctor: every precondition of the service, each checked by itself, with the way out."""
