/** A measurement with its proof: the outputs are compared before any time is shown. */

import { RunnerError } from "../page/failure.mjs";
import { difference } from "./parity.mjs";

/** By input: outputs of its first run with WebAssembly on one thread, and what its model takes. */
const references = new WeakMap();

/**
 * Measure `input` with `provider`.
 *
 * @param {import("./inputs.mjs").Input} input
 * @param {object} provider one of `providers()`; `reference` is the first of them
 * @param {{served: object, reference: object, signal: AbortSignal, onStep: (step: object) => void}} context
 * @returns {Promise<object>} the result of the worker, and `parity`: what was compared with what
 */
export async function measure(input, provider, context) {
  const { served, reference, onStep } = context;
  let known = references.get(input);
  if (!known && provider !== reference) {
    onStep({ step: `computing the same with ${reference.title}` });
    known = await work({ ...input, ...reference, preprocess: served.preprocess, warm: false }, context);
    references.set(input, known);
  }
  onStep({ step: "starting" });
  const job = { ...input, ...provider, preprocess: served.preprocess, specs: known?.specs, warm: true };
  const result = await work(job, context);
  if (provider === reference) references.set(input, result);
  const parity = [];
  if (provider !== reference) {
    parity.push(compared(result, known.outputs[0], `${reference.title}, same input`, served.tolerance.provider));
  }
  if (input.references) {
    const stored = await Promise.all(Object.entries(input.references).map(readStored));
    parity.push(compared(result, stored, "reference stored with the model", served.tolerance.reference));
  }
  return { ...result, parity };
}

function compared({ outputs }, expected, against, limit) {
  const largest = Math.max(...outputs.map((run) => difference(run, expected)));
  return { against, limit, difference: largest, same: largest <= limit };
}

async function readStored([name, { path, dtype, shape }]) {
  return { name, dtype, shape, data: new Uint8Array(await (await fetch(path)).arrayBuffer()) };
}

/** Let a new worker do `job`; it ends with the job, or with the signal. */
async function work(job, { signal, onStep }) {
  signal.throwIfAborted();
  const worker = new Worker(new URL("worker.mjs", import.meta.url), { type: "module" });
  try {
    return await new Promise((resolve, reject) => {
      signal.addEventListener("abort", () => reject(signal.reason), { once: true });
      worker.addEventListener("error", ({ message }) => {
        reject(new RunnerError("runtime-failed", message || "the worker of the page cannot be loaded"));
      });
      worker.addEventListener("message", ({ data }) => {
        if (data.error) reject(Object.assign(new Error(data.error.message), data.error));
        else if (data.ended) resolve(data.ended);
        else onStep(data);
      });
      worker.postMessage(job);
    });
  } finally {
    worker.terminate();
  }
}
