"""Kafka behind our types: a group's member, a range beside it, positions, letters; its driver is known here alone."""
