"""Migrations of the database, applied by `sensei.database.upgrade`."""
