"""Google Cloud: secrets of Secret Manager, keys of Cloud KMS."""
