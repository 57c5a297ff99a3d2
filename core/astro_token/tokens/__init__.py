"""Astro tokens: read, verify, write, and ask Astro about them."""
