"""The operations of the API, a module for each subject; each has a ``blueprint``."""
