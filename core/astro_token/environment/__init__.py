"""The Astro CLI's environment: its configuration files."""
