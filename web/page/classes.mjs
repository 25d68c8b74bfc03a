/** The classes of an image. */

import { RunnerError } from "./failure.mjs";
import { ARRAYS } from "./tensors.mjs";

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
