"""The web: the API, metrics, health."""
