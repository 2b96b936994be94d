"""Migrations of the database, applied by `sensei.storage.database.upgrade`."""
