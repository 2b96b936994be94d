"""Release of models: export, gate, ledger, promotion."""
