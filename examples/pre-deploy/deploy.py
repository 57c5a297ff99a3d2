"""A pre-deploy script: reads the token of production and deploys with it, isolated from this machine."""

import subprocess

import astro_token

token = astro_token.read_token("prod")  # a name from astro-token.toml, or a reference
print(f"deploying to workspace {token.workspace} with token {token.token_id}, which expires {token.expires}")
with astro_token.isolated(token) as environ:
    subprocess.run(["astro", "deploy", "--dags"], env=environ, check=True)
