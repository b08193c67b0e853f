"""One module a revision, each with its number first: ``r0001_…``."""
