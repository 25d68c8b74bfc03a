/** What a runner reads and writes: labels, tensors. */

import fs from "node:fs";
import path from "node:path";

import { RunnerError } from "../page/failure.mjs";

/** Write the tensors of a batch into `folder`; return a WrittenTensor of the protocol for each. */
export function writeTensors(folder, items, tensors, prefix = "") {
  const written = new Map();
  for (const { name, dtype, shape, data } of tensors) {
    let plain = name.replace(/[^A-Za-z0-9_.-]/g, "_");
    const pathOf = () => path.join(folder, `${prefix}${plain}.${items[0]}.bin`);
    while (written.has(pathOf())) plain += "_";
    fs.writeFileSync(pathOf(), data);
    written.set(pathOf(), { items, name, dtype, shape, path: pathOf() });
  }
  return [...written.values()];
}

/** Return the lines of the labels file; an empty list if there is none. */
export function readLabels(file) {
  if (file === null) return [];
  try {
    return fs.readFileSync(file, "utf8").replace(/\n$/, "").split("\n");
  } catch (error) {
    throw new RunnerError("bad-request", `labels: ${file} cannot be read: ${error.message}`);
  }
}
