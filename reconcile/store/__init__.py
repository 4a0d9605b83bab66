"""The object store: its client, what is asked of objects and done to them, and the rules by which it tells events."""
