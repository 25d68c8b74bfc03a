/** ONNX Runtime Web in Node: the page's code in this process. */

import path from "node:path";
import { pathToFileURL } from "node:url";

import { Bench } from "../page/bench.mjs";
import { moduleFile } from "./modules.mjs";

/** `Bench` in this process, with the same interface as `Page`. */
export class InProcess {
  #bench;
  #workers = 0;

  /** Load the libraries; end the phase imports. */
  static async open(row, read, phases, { workload, settings }) {
    const engine = new InProcess();
    const ort = await import(pathToFileURL(path.join(moduleFile("onnxruntime-web"), row.bundle)));
    const decode = workload === "classify" ? await decoder(settings.threads) : null;
    // ONNX Runtime's threads; the garbage collector's and those that read files are none
    process.on("worker", () => {
      engine.#workers += 1;
    });
    engine.#bench = new Bench({ ort, decode, read: async (name) => exact(await read(name)) });
    await phases.end("imports");
    return engine;
  }

  /** Call a method of `Bench`. */
  call = async (method, ...parameters) => {
    if (method === "start") return this.#bench.start(parameters[1]);
    if (method === "device") return { name: null };
    if (method === "facts") return { ...this.#bench.facts(), threads: 1 + this.#workers };
    return this.#bench[method](...parameters);
  };

  tensors = (what) => this.#bench[what]();

  version() {
    return `Node.js ${process.version}`;
  }

  async close() {}
}

/** Return the function that decodes an image, on `threads`. */
async function decoder(threads) {
  const { default: sharp } = await import(pathToFileURL(moduleFile("sharp")));
  sharp.concurrency(threads);
  sharp.cache(false);
  return async (bytes) => {
    const image = sharp(bytes, { failOn: "truncated", ignoreIcc: true, limitInputPixels: false }).autoOrient();
    const options = { resolveWithObject: true };
    const { data, info } = await image.removeAlpha().toColourspace("srgb").raw().toBuffer(options);
    return { data, ...info };
  };
}

/** Return a Buffer's bytes without the pool that they lie in. */
function exact({ buffer, byteOffset, byteLength }) {
  return buffer.byteLength === byteLength ? buffer : buffer.slice(byteOffset, byteOffset + byteLength);
}
