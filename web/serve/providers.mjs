/** What this browser can compute on. */

import { device } from "../page/device.mjs";
import { ROWS } from "../runner/rows.mjs";

const TITLES = {
  "ort-web-webgpu": "WebGPU, native",
  "ort-web-webgpu-jsep": "WebGPU, JSEP",
  "ort-web-webgl": "WebGL",
  "ort-web-webnn": "WebNN",
};
const WASM = "ort-web-wasm";

/**
 * Return the providers in the order in which they are shown; the first one is what others are compared with.
 *
 * @returns {Promise<{id: string, title: string, detail: string, row: object, threads: number, missing?: string}[]>}
 */
export async function providers() {
  const cores = navigator.hardwareConcurrency;
  const gpus = Object.entries(TITLES).map(async ([id, title]) => {
    const { name, missing } = await device(ROWS[id].provider);
    return { id, title, detail: name, missing, row: ROWS[id], threads: 1 };
  });
  return [
    { id: WASM, title: "WebAssembly, 1 thread", detail: "CPU", row: ROWS[WASM], threads: 1 },
    {
      id: `${WASM}-all`,
      title: cores > 1 ? `WebAssembly, ${cores} threads` : "WebAssembly, several threads",
      detail: "CPU",
      row: ROWS[WASM],
      threads: cores,
      missing: noThreads(cores),
    },
    ...(await Promise.all(gpus)),
  ];
}

function noThreads(cores) {
  if (!crossOriginIsolated) return "the page is not isolated from other sites";
  return cores > 1 ? undefined : "this browser reports one core";
}
