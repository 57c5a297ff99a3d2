"""
From a credential in the environment to a token: `choice` says by which method, and the method's module asks.

`asked` is what a method gets and how it reads it, `answer` what comes of it.
A method's module, and with it the SDK of a cloud, is imported when that method is chosen.
"""

from astro_token_backends.vault.login.answer import Login
from astro_token_backends.vault.login.choice import Found, find

__all__ = ["Found", "Login", "find"]
