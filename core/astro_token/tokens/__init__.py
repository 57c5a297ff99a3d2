"""Astro tokens: read, verify, write, ask Astro."""
