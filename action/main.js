// Installs astro-token, then runs a command with the token, or hands the token to later steps.
// A JavaScript action, because a composite one has no post step, and because node is on every runner.
// No text of an input becomes a part of a script, except `command`, which is a script.
"use strict";

const fs = require("node:fs");
const path = require("node:path");
const { run, environment, folder, python, refuse } = require("./shared.js");

const input = (name) => (process.env[`INPUT_${name.toUpperCase()}`] ?? "").trim();
const isTrue = (name) => {
  const text = input(name).toLowerCase();
  if (!["true", "false", ""].includes(text)) refuse(`${name} must be true or false`);
  return text === "true";
};
const BACKENDS = ["aws", "azure", "gcp", "vault"];
// Without shell syntax a deploy is started directly: then exec refuses another deployment than the token's.
const SIMPLE_DEPLOY = /^astro deploy[a-zA-Z0-9_./=:,@+ -]*$/;
const ANY_DEPLOY = /astro[\s\\]+deploy(?![a-z])/;

async function main() {
  const token = input("token");
  const command = input("command");
  const version = input("install-cli");
  const asOutputs = isTrue("outputs");
  if (!/^[a-z,]*$/.test(input("extras"))) refuse("extras must be names, separated by commas");
  if (token.startsWith("-")) refuse("the token must be a reference or a name, not an option");
  if (command && asOutputs) refuse("command and outputs are both given");
  if (command && process.platform === "win32") {
    refuse("command needs Linux or macOS", "leave it out: the steps after this one get the token");
  }
  await install(input("extras") === "all" ? BACKENDS : input("extras").split(",").filter(Boolean));

  const environ = environment();
  const cwd = path.resolve(input("working-directory") || ".");
  const astroToken = (...words) => run(python(), ["-I", "-m", "astro_token", ...words], { cwd, env: environ });
  if (version) {
    await astroToken("install-cli", ...(version === "true" ? [] : [`--version=${version}`]));
    environ.PATH = [path.join(environ.HOME ?? "", ".local", "bin"), environ.PATH].join(path.delimiter);
  }
  const decrypt = input("decrypt");
  const read = [...(decrypt ? [`--decrypt=${decrypt}`] : []), ...(token ? [token] : [])];
  if (!command) {
    // Before the token: if the export fails half-way, the post step still takes it back.
    if (!asOutputs) fs.appendFileSync(process.env.GITHUB_STATE, "exported=true\n");
    await astroToken("export", "--format", asOutputs ? "github-output" : "github", ...read);
    return;
  }
  if (ANY_DEPLOY.test(command)) await astroToken("check", "--deploy", ...read);
  const words = SIMPLE_DEPLOY.test(command)
    ? command.split(" ").filter(Boolean)
    : ["bash", "-euo", "pipefail", "-c", command];
  await astroToken("exec", ...read, "--", ...words);
}

// The locked versions, by hash. With -I Python imports no modules of the checkout.
async function install(extras) {
  const root = path.dirname(__dirname);
  const locks = ["core", ...extras].flatMap((name) => ["-r", path.join(root, "requirements", `${name}.txt`)]);
  // Not in the checkout: Windows looks for a program in the current folder first.
  const options = { env: environment(), cwd: process.env.RUNNER_TEMP };
  await run(process.platform === "win32" ? "python" : "python3", ["-I", "-m", "venv", folder()], options);
  const pip = (...words) =>
    run(python(), ["-I", "-m", "pip", "--quiet", "--disable-pip-version-check", "install", ...words], options);
  await pip("--require-hashes", "--only-binary", ":all:", ...locks);
  await pip("--no-deps", "--no-build-isolation", root);
}

main();
