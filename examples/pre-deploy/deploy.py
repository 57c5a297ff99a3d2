"""A pre-deploy script: reads the token of production and deploys with it, isolated from this machine."""

import subprocess
import sys

import astro_token

DEPLOYMENT = "cldep00000000000000000"

try:
    token = astro_token.read_token("prod")  # a name from astro-token.toml, or a reference
except astro_token.AstroTokenError as error:
    print(f"{error.message}; {error.hint}", file=sys.stderr)
    sys.exit(error.exit_code)
print(f"deploying to workspace {token.workspace} with token {token.token_id}, which expires {token.expires}")
with astro_token.isolated(token) as environ:
    sys.exit(subprocess.run(["astro", "deploy", "--dags", DEPLOYMENT], env=environ, check=False).returncode)
