// What the main and the post step share.
"use strict";

const path = require("node:path");
const { spawn } = require("node:child_process");
const { constants } = require("node:os");

const folder = () => path.join(process.env.RUNNER_TEMP, "astro-token");

const python = () =>
  path.join(folder(), ...(process.platform === "win32" ? ["Scripts", "python.exe"] : ["bin", "python"]));

// The job's own environment. The runner gives an action its inputs, its state and credentials of the runner's
// own services, which a script does not get. The job's identity stays: it is what the login needs.
function environment() {
  const entries = Object.entries(process.env).filter(
    ([name]) => !/^(INPUT_|STATE_|ACTIONS_(?!ID_TOKEN_REQUEST_))/.test(name),
  );
  return Object.fromEntries(entries);
}

// Runs a program without a shell. If it fails, the action ends with its status.
function run(program, words, options) {
  return new Promise((resolve) => {
    const child = spawn(program, words, { stdio: "inherit", ...options });
    const signals = ["SIGINT", "SIGTERM", "SIGHUP"];
    const forward = Object.fromEntries(signals.map((name) => [name, () => child.kill(name)]));
    for (const name of signals) process.on(name, forward[name]);
    child.on("error", (error) => {
      process.stderr.write(`astro-token: error: ${program} cannot be started (${error.code})\n`);
      process.exit(127);
    });
    child.on("exit", (status, signal) => {
      for (const name of signals) process.removeListener(name, forward[name]);
      if (status === 0) resolve();
      else process.exit(status ?? 128 + constants.signals[signal]);
    });
  });
}

function refuse(message, hint = "see action.yml") {
  process.stderr.write(`astro-token: error: ${message}\nastro-token: hint: ${hint}\n`);
  process.exit(64);
}

module.exports = { environment, folder, python, refuse, run };
