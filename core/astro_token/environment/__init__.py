"""The Astro CLI's environment: variables to set and unset, a private home, the CLI's configuration files."""
