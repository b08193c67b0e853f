"""The steps by which a database was brought up to date, in alembic's form.  ``migrating.py`` runs them."""
