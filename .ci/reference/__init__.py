"""The reference: pages for people, a JSON schema for editors and a man page, all from the code."""
