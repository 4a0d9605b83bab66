"""What is raised where a promise is not kept."""


class Violated(Exception):
    """Something that must always hold did not."""
