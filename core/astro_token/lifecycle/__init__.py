"""
Create, rotate, revoke and audit tokens.

    protocol ──> transitions
    effects      the table: record and value ──> next step

The protocol yields its effects (read, write, create, delete) instead of performing them.
The commands perform them on a backend and on Astro's API, and the tests' model on simulated ones.
"""
