"""Bytes from a secrets backend: references, schemes, protocols, fields, ciphertext."""
