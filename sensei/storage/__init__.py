"""The database: engine, tables, migrations, locks, revisions, copies."""
