# Sourced by the hooks: installs astro-token into a temporary folder, and enters the folder of the project.
# No release is published yet, and somebody else may take the name: first replace what pip installs, as docs/ci.md says.
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
# With -I Python imports no modules of the checkout.
python3 -I -m venv "$folder"
"$folder/bin/python" -I -m pip install --quiet "${BUILDKITE_PLUGIN_ASTRO_TOKEN_SOURCE:-astro-token}[${BUILDKITE_PLUGIN_ASTRO_TOKEN_EXTRAS:-}]"
token="${BUILDKITE_PLUGIN_ASTRO_TOKEN_TOKEN:-}"
cd -- "${BUILDKITE_PLUGIN_ASTRO_TOKEN_FOLDER:-.}"
