"""Programs for people at a keyboard: thin, over what the packages do."""
