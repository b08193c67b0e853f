"""What failed or waits and will not go by itself: one list of it, trying again, and making good what is missing.

``listing.py`` finds it, ``retrying.py`` has it tried at once, ``backfilling.py`` takes facts again from where they
still stand; ``cli.py`` talks to people.
"""
