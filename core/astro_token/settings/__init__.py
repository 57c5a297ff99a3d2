"""Settings from arguments, the environment and astro-token.toml, in this order."""
