"""CI systems, one module each."""
