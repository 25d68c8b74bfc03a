/** The page that runoff measures: it waits for the runner's calls of `Bench`. */

import { Bench } from "./bench.mjs";
import { device } from "./device.mjs";
import { RunnerError } from "./failure.mjs";
import { clockStep, decode, threads } from "./host.mjs";

let bench;

const steps = {
  /** Import the bundle of ONNX Runtime Web and start it. */
  async start(bundle, settings) {
    const ort = await import(`/ort/${bundle}`);
    bench = new Bench({ ort, read, decode });
    await bench.start(settings);
  },
  device,
  facts: () => ({ ...bench.facts(), threads: threads(), isolated: crossOriginIsolated, clock: clockStep() }),
};

/** Carry out a call of the runner; return its value or its failure as JSON. Bytes are in base64. */
globalThis.call = async (method, ...parameters) => {
  try {
    const value = await (steps[method] ?? bench[method].bind(bench))(...parameters);
    return JSON.stringify({ value }, (_, part) => (part instanceof Uint8Array ? part.toBase64() : part));
  } catch (error) {
    const { kind = "internal", message, hint = "" } = error;
    return JSON.stringify({ error: { kind, message, hint, stack: error.stack } });
  }
};

async function read(name) {
  const response = await fetch(`/files/${name}`, { cache: "no-store" });
  if (response.ok) return response.arrayBuffer();
  const { kind, message, hint } = await response.json();
  throw new RunnerError(kind, message, hint);
}
