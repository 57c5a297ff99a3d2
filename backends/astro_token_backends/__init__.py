"""
The built-in backends. Each has a folder, or a module, and a line in `MODULES`.

Importing a backend's folder loads its `SCHEMES` and no SDK; creating the backend loads the SDK.
"""

# Schemes by the folder or module that defines their records in `SCHEMES`.
MODULES = {
    "file": ("file",),
    "env": ("env",),
    "command": ("command",),
    "keyring": ("keyring",),
    "airflow": ("airflow",),
    "vault": ("vault", "vault-transit"),
    "aws": ("aws", "aws-ssm", "aws-kms"),
    "gcp": ("gcp", "gcp-pm", "gcp-kms"),
    "azure": ("azure", "azure-keys"),
}
