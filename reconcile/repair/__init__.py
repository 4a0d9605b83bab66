"""What a person does about what was found: triage and deletion of orphans, purge, restore, and the ways there are."""
