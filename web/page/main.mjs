/** The page that runoff measures: it waits for the runner's calls of `Bench`. */

import { Bench } from "./bench.mjs";
import { device } from "./device.mjs";
import { RunnerError } from "./failure.mjs";

let bench;
/** Workers that were started: the runtime's threads but the page's own. */
let workers = 0;
globalThis.Worker = class extends Worker {
  constructor(...parameters) {
    super(...parameters);
    workers += 1;
  }
};

const steps = {
  /** Import the bundle of ONNX Runtime Web and start it. */
  async start(bundle, settings) {
    const ort = await import(`/ort/${bundle}`);
    bench = new Bench({ ort, read, decode });
    await bench.start(settings);
  },
  device,
  facts: () => ({ ...bench.facts(), threads: 1 + workers, isolated: crossOriginIsolated, clock: clockStep() }),
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

async function decode(bytes) {
  const options = { colorSpaceConversion: "none", premultiplyAlpha: "none", imageOrientation: "from-image" };
  const bitmap = await createImageBitmap(new Blob([bytes]), options);
  const { width, height } = bitmap;
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return { data: context.getImageData(0, 0, width, height).data, width, height, channels: 4 };
}

/** Return the smallest step of the clock in nanoseconds. */
function clockStep() {
  const steps = [];
  for (let before = performance.now(); steps.length < 20; ) {
    const now = performance.now();
    if (now > before) steps.push(now - before);
    before = now;
  }
  return Math.round(Math.min(...steps) * 1e6);
}
