"""Corrections of the log by superseding rows: void, correct, undo an import, merge learners."""
