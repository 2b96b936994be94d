"""The log of interactions: schema, rules, appending, reading, files, quarantine."""
