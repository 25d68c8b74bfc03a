/** ONNX Runtime Web in Node: the page's code in this process. */

import path from "node:path";
import { pathToFileURL } from "node:url";

import { Bench } from "../page/bench.mjs";
import { decoder, exact } from "./decoder.mjs";
import { moduleFile } from "./modules.mjs";

/** `Bench` in this process, with the same interface as `Page`. */
export class InProcess {
  #bench;
  #images = {};
  #workers = 0;

  /** Load the libraries; end the phase imports. */
  static async open(row, read, phases, { workload, settings }) {
    const engine = new InProcess();
    const ort = await import(pathToFileURL(path.join(moduleFile("onnxruntime-web"), row.bundle)));
    if (workload === "classify") engine.#images = await decoder(settings.threads);
    // ONNX Runtime's threads; the garbage collector's and those that read files are none
    process.on("worker", () => {
      engine.#workers += 1;
    });
    engine.#bench = new Bench({ ort, decode: engine.#images.decode, read: async (name) => exact(await read(name)) });
    await phases.end("imports");
    return engine;
  }

  /** Call a method of `Bench`. */
  call = async (method, ...parameters) => {
    if (method === "start") return this.#bench.start(parameters[1]);
    if (method === "device") return { name: null };
    if (method === "facts") return this.#facts();
    return this.#bench[method](...parameters);
  };

  tensors = (what) => this.#bench[what]();

  version() {
    return `Node.js ${process.version}`;
  }

  async close() {}

  #facts() {
    return { ...this.#bench.facts(), threads: 1 + this.#workers, decoder: this.#images.library };
  }
}
