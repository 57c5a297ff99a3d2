"""
The built-in backends, one module per service.

Importing a module loads no SDK; making its backend does.
Which scheme belongs to which is said in `astro_token.secrets.schemes`.
"""
