"""
Google Cloud: `secret_manager` reads and writes secrets, `kms` decrypts and encrypts with a key.

`settings` reads the environment, `login_request` sends one request of a login, `credentials` logs in,
`connection` keeps what all calls of a process share, `refusals` says what a refusal means.
"""
