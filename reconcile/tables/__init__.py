"""The application's tables: the mapping, its statements, what the catalog says of it, and the proposal of one."""
