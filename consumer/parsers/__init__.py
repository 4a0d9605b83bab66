"""The parsers of families of commands, one file a family; each has a function add(commands, common)."""
