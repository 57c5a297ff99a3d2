"""
One request: its route (proxy and TLS), its deadline, a response of limited size, the meaning of a failure.

    route = Route.to("https://vault.example:8200", os.environ, service="Vault", variable="VAULT_ADDR")
    response = client.send(route, "GET", "/v1/sys/health", until=time.monotonic() + 5)

Import the modules, not this package: `deadline` needs nothing of `client`.
"""
