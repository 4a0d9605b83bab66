"""What is run once and ends with a report: a sweep, a scrub, a replay."""
