"""AWS: secrets of Secrets Manager and of Parameter Store, keys of KMS."""
