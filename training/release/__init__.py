"""From a trained model to the champion: gate, export, ledger, promotion."""
