/** ONNX Runtime's own package for Node.js, which has a native library. */

import fs from "node:fs";
import { createRequire } from "node:module";
import { basename, dirname, join } from "node:path";

import { Bench, LEVELS } from "../page/bench.mjs";
import { RunnerError } from "../page/failure.mjs";
import { decoder, exact } from "./decoder.mjs";
import { moduleFile } from "./modules.mjs";
import { allocator, mappedFiles, textIn, threadCount } from "./system.mjs";

/** Entries that map a prepared model and use its weights in place, as in the other native runners. */
const IN_PLACE = {
  load_model_format: "ORT",
  use_memory_mapped_ort_model: "1",
  use_ort_model_bytes_for_initializers: "1",
};
const LIBRARY = "libonnxruntime.";
const BUILD = "ORT Build Info: ";

/** `Bench` on the native library in this process, with the same interface as `Page`. */
export class Native {
  #bench;
  #images = {};
  #model;
  #ort;
  #threads = null;

  /** Load the libraries; end the phase imports. */
  static async open(_row, read, phases, { workload, model, settings }) {
    const engine = new Native();
    engine.#ort = library();
    engine.#model = model;
    if (workload === "classify") engine.#images = await decoder(settings.threads);
    engine.#bench = new Bench({
      ort: { ...engine.#ort, Tensor: tensorClass(engine.#ort) },
      open: engine.#open,
      decode: engine.#images.decode,
      read: async (name) => exact(await read(name)),
    });
    await phases.end("imports");
    return engine;
  }

  /** Call a method of `Bench`. */
  call = async (method, ...parameters) => {
    if (method === "device") return { name: null };
    if (method === "facts") return this.#facts();
    return this.#bench[method](...parameters);
  };

  tensors = (what) => this.#bench[what]();

  /** The build is in no interface: see `libraryOf`. */
  version() {
    return null;
  }

  /** Free the session, unless the process is to end `now`. */
  async close({ now = false } = {}) {
    if (!now) await this.#bench.release();
  }

  /** Create the session from the model's path, so the library reads or maps the file itself; count its threads. */
  #open = async (request) => {
    const before = threadCount();
    const session = await this.#ort.InferenceSession.create(request.model.path, sessionOptions(request));
    this.#threads = before === null ? null : threadCount() - before + 1;
    return session;
  };

  #facts() {
    return {
      ...this.#bench.facts(),
      version: this.#ort.env.versions.node,
      threads: this.#threads,
      decoder: this.#images.library,
      ...observed(this.#model),
    };
  }
}

/** Return the package's module. */
function library() {
  const file = moduleFile("onnxruntime-node");
  try {
    return createRequire(file)(file);
  } catch (error) {
    throw new RunnerError("runtime-missing", `onnxruntime-node cannot be loaded: ${error.message}`, "see docs/web.md");
  }
}

/**
 * Return the class of input tensors. Release 1.30 finds no bytes in a Float16Array, which Node.js has since version 24;
 * it reads the same bits as uint16.
 */
function tensorClass({ Tensor }) {
  return class extends Tensor {
    get data() {
      const data = super.data;
      return this.type === "float16" ? new Uint16Array(data.buffer, data.byteOffset, data.length) : data;
    }
  };
}

/** Return session options for the request; only requested settings differ from the defaults. */
function sessionOptions({ model, settings, measure }) {
  const options = {
    executionProviders: ["cpu"],
    intraOpNumThreads: settings.threads,
    extra: { session: entriesOf(model, settings, measure) },
  };
  if (settings.inter_threads !== null) options.interOpNumThreads = settings.inter_threads;
  if (settings.optimization !== null) options.graphOptimizationLevel = LEVELS[settings.optimization];
  if (settings.arena !== null) options.enableCpuMemArena = settings.arena;
  if (settings.execution !== null) options.executionMode = settings.execution;
  return options;
}

/** Return the configuration entries of the session; values are strings. */
function entriesOf(model, settings, measure) {
  const entries = model.format === "ort" ? { ...IN_PLACE } : {};
  const pools = {
    allow_spinning: settings.spinning === null ? null : flag(settings.spinning),
    spin_duration_us: settings.spin_duration_us,
    spin_backoff_max: settings.spin_backoff_max,
  };
  for (const [key, value] of Object.entries(pools)) {
    if (value === null) continue;
    entries[`intra_op.${key}`] = String(value);
    entries[`inter_op.${key}`] = String(value);
  }
  if (settings.prepacking !== null) entries.disable_prepacking = flag(!settings.prepacking);
  // while a process waits for its turn, it must not take CPU from the active one
  if (measure.kind === "turns") entries.force_spinning_stop = "1";
  return entries;
}

/** Return what the system knows of the session on the file `model`. */
function observed(model) {
  const mapped = mappedFiles();
  const inPlace = model.format === "ort" && mapped.includes(fs.realpathSync(model.path));
  return {
    library: mapped.find((path) => basename(path).startsWith(LIBRARY)) ?? null,
    allocator: allocator(mapped),
    practices: inPlace ? ["mapped-model"] : [],
  };
}

/**
 * Return the library of the package and its build, which its interface does not name: it is read from the file, so
 * only for the capabilities, and never in a process that is timed.
 */
export function libraryOf() {
  const folder = join(dirname(moduleFile("onnxruntime-node")), "../bin");
  const files = fs.readdirSync(folder, { recursive: true }).map((name) => join(folder, name));
  const place = join(process.platform, process.arch);
  const found = files.find((path) => dirname(path).endsWith(place) && basename(path).startsWith(LIBRARY));
  if (!found) {
    const message = `onnxruntime-node has no library for ${process.platform} on ${process.arch}`;
    throw new RunnerError("runtime-missing", message, "use the target ort-node-wasm");
  }
  const build = textIn(found, BUILD);
  return { library: fs.realpathSync(found), build: build ? BUILD + build : null };
}

function flag(value) {
  return value ? "1" : "0";
}
