"""
Logins: from a credential in the environment to a Vault token.

`methods` chooses the method, the method's module prepares the credential from a `LoginContext`,
and `response` reads the result. A method's module, and a cloud's SDK, is imported when it is chosen.
"""

from astro_token_backends.vault.login.methods import PreparedLogin, prepare_login, token_renewal
from astro_token_backends.vault.login.response import Login

__all__ = ["Login", "PreparedLogin", "prepare_login", "token_renewal"]
