"""What is periodic: each duty under a lease, so that one process of many does it."""
