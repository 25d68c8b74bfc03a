/** The npm packages, which are in the environment of the targets and not next to this program. */

import fs from "node:fs";
import path from "node:path";

import { RunnerError } from "../page/failure.mjs";

const ENTRIES = {
  "onnxruntime-node": "dist/index.js",
  "onnxruntime-web": "dist",
  "puppeteer-core": "lib/esm/puppeteer/puppeteer-core.js",
  sharp: "dist/index.mjs",
};

/** Return the folder or file of the package `name` that is used. */
export function moduleFile(name) {
  const folder = process.env.RUNOFF_WEB_MODULES ?? "";
  const file = path.join(folder, name, ENTRIES[name]);
  if (!folder || !fs.existsSync(file)) {
    const missing = folder ? `${file} not found` : "RUNOFF_WEB_MODULES, the folder of the npm packages, is not set";
    throw new RunnerError("runtime-missing", missing, "make the environment: nox -s web, or runoff setup web");
  }
  return file;
}

/** Return the version of the package `name`. */
export function versionOf(name) {
  moduleFile(name);
  return JSON.parse(fs.readFileSync(path.join(process.env.RUNOFF_WEB_MODULES, name, "package.json"), "utf8")).version;
}
