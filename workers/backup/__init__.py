"""Backup and restore: everything that one Cordboard knows, in one file, and back on another machine.

``archive.py`` is the file and trusts nothing in it; ``redis_keys.py`` what of Redis is kept; ``saving.py`` takes a
running system, ``restoring.py`` makes another of it, all or nothing; ``cli.py`` talks to people.
"""
