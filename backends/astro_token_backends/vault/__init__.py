"""
HashiCorp Vault and OpenBao: `KeyValue` reads and writes secrets, `Transit` decrypts and encrypts with a key.

`settings` reads the environment, `transport` sends one request, `login` gets a token,
`connection` keeps what all calls of a process share.
"""

from astro_token_backends.vault.kv import KeyValue
from astro_token_backends.vault.transit import Transit

__all__ = ["KeyValue", "Transit"]
