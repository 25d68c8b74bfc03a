/** What a runner writes: tensors, and the best classes of a batch of logits. */

import fs from "node:fs";
import path from "node:path";

import { RunnerError } from "../page/failure.mjs";
import { ARRAYS } from "../page/tensors.mjs";

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

/** Return the `count` best classes of each row of logits, best first; ties in order of their index. */
export function topClasses({ dtype, shape, data }, count, labels) {
  if (shape.length !== 2) {
    const message = `model.outputs: the first has shape [${shape.join(", ")}]; workload 'classify' needs [N, classes]`;
    throw new RunnerError("model-mismatch", message, "use workload 'tensor'");
  }
  const logits = new ARRAYS[dtype](new Uint8Array(data).buffer);
  if (!logits.every(Number.isFinite)) {
    throw new RunnerError("runtime-failed", "the model's output holds numbers that are not finite");
  }
  return Array.from({ length: shape[0] }, (_, row) => {
    const values = logits.subarray(row * shape[1], (row + 1) * shape[1]);
    const largest = values.reduce((a, b) => Math.max(a, b), -Infinity);
    const total = values.reduce((sum, value) => sum + Math.exp(value - largest), 0);
    const order = Array.from(values.keys()).sort((a, b) => values[b] - values[a] || a - b);
    return order.slice(0, count).map((index) => ({
      index,
      confidence: Math.exp(values[index] - largest) / total,
      label: labels[index] ?? null,
    }));
  });
}
