"""Azure Key Vault: its secrets, and its keys."""
