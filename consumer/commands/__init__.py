"""One function a subcommand, one file a family."""
