// Takes back what the main step handed over: the post steps of the actions before this one run later, and need no token.
"use strict";

const fs = require("node:fs");
const { folder } = require("./shared.js");

if (process.env.STATE_exported === "true") {
  // The runner can empty a variable, and not remove it.
  fs.appendFileSync(process.env.GITHUB_ENV, "ASTRO_API_TOKEN=\n");
}
fs.rmSync(folder(), { recursive: true, force: true });
