"""
HashiCorp Vault and OpenBao: `kv` reads and writes secrets, `transit` decrypts and encrypts with a key.

`settings` reads the environment, `transport` sends one request, `login` gets a token,
`connection` keeps what all calls of a process share.
"""
