# Sourced by the hooks: installs astro-token into a temporary folder, and enters the folder of the project.
# The plugin's `source` is what pip installs: your copy of astro-token, at a commit.
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
# With -I Python imports no modules of the checkout.
python3 -I -m venv "$folder"
"$folder/bin/python" -I -m pip install --quiet \
  "astro-token[${BUILDKITE_PLUGIN_ASTRO_TOKEN_EXTRAS:-}] @ ${BUILDKITE_PLUGIN_ASTRO_TOKEN_SOURCE:-git+https://github.com/YOUR-ORG/astro-token@COMMIT}"
token="${BUILDKITE_PLUGIN_ASTRO_TOKEN_TOKEN:-}"
cd -- "${BUILDKITE_PLUGIN_ASTRO_TOKEN_FOLDER:-.}"
