/**
 * One model in ONNX Runtime: the session, its iterations and their times. The page and Node use the same code; the
 * host gives it ONNX Runtime, the files of the request and a decoder of images.
 */

import { RunnerError, oneLine } from "./failure.mjs";
import { damaged, inspect, preprocess } from "./images.mjs";
import { content, dtypeOf, join, readTensor } from "./tensors.mjs";

/** An ONNX model of one Relu: its session makes the runtime fetch, compile and start everything. */
const SMALLEST = "CAg6MwoMCgF4EgF5IgRSZWx1EgFyWg8KAXgSCgoICAESBAoCCAFiDwoBeRIKCggIARIECgIIAUIECgAQDQ==";
/** ONNX Runtime's names of the protocol's optimisation levels. */
export const LEVELS = { disable: "disabled", basic: "basic", extended: "extended", all: "all" };
/** Name of the free dimension in the models that runoff exports. */
const BATCH = "batch";

export class Bench {
  #ort;
  #host;
  #session;
  #request;
  #held = [];
  #feed = {};
  #outputs = {};
  #batch;

  /**
   * @param {{ort: object, read: (name: string) => Promise<ArrayBuffer>,
   *          decode: (bytes: Uint8Array) => Promise<object>,
   *          open: ((request: object) => Promise<object>) | undefined}} host
   *        `open` creates the session; without it, one of ONNX Runtime Web is created
   */
  constructor(host) {
    this.#ort = host.ort;
    this.#host = host;
  }

  /** Start the runtime with `threads` on `provider`. */
  async start({ provider, threads }) {
    const { env, InferenceSession } = this.#ort;
    env.logLevel = "error";
    env.wasm.numThreads = threads;
    const model = Uint8Array.from(atob(SMALLEST), (letter) => letter.charCodeAt(0));
    try {
      const session = await InferenceSession.create(model, { executionProviders: [provider] });
      await session.release();
    } catch (error) {
      throw unusable(provider, reasonOf(error));
    }
  }

  /**
   * Load the model; return its inputs and outputs, as far as the runtime names them.
   *
   * @param {object} request what the page needs of it
   * @param {object} options `provider`, and `fixed`: whether the free dimension is fixed
   */
  async load(request, { provider, fixed }) {
    this.#request = request;
    const open = this.#host.open ?? (() => this.#open(provider, fixed));
    try {
      this.#session = await open(request);
    } catch (error) {
      throw error instanceof RunnerError ? error : loadFailure(request, provider, error);
    }
    return { inputs: specs(this.#session, "input"), outputs: specs(this.#session, "output") };
  }

  /** Create a session of ONNX Runtime Web from the bytes of the model and, if needed, of the files next to it. */
  async #open(provider, fixed) {
    const model = new Uint8Array(await this.#host.read("model"));
    // the WebGL backend ignores the option for that
    if (fixed && provider === "webgl") fixBatch(model, this.#request.settings.batch);
    const options = sessionOptions(this.#request, provider, fixed);
    const create = () => this.#ort.InferenceSession.create(model, options);
    return create().catch(async (error) => {
      options.externalData = await this.#external(model);
      if (!options.externalData.length) throw error;
      return create();
    });
  }

  /** Free the session, if there is one. */
  async release() {
    await this.#session?.release();
  }

  /** Return the files next to the model that it has its weights in, by the names that it has for them. */
  #external(model) {
    const names = new Set();
    const text = new TextDecoder("latin1").decode(model);
    for (const { 1: length, index, 0: found } of text.matchAll(/\n\x08location\x12([\s\S])/g)) {
      const begin = index + found.length;
      names.add(new TextDecoder().decode(model.subarray(begin, begin + length.charCodeAt(0))));
    }
    const read = async (path) => ({ path, data: new Uint8Array(await this.#host.read(`external/${path}`)) });
    return Promise.all(Array.from(names, read));
  }

  /** Fetch the outputs called `names`. */
  fetch(names) {
    this.#request.fetched = names;
  }

  /** Read all items, so that iterations do not (`tensor` only). */
  async hold() {
    this.#held = await Promise.all(this.#request.inputs.map((_, item) => this.#readItem(item)));
  }

  /** Prepare the first batch; return the time in nanoseconds. */
  async prepare(items) {
    const began = performance.now();
    this.#feed = await this.#makeFeed(items);
    return nanoseconds(began, performance.now());
  }

  /** Run the model on the prepared batch; return the time in nanoseconds. */
  async infer() {
    const began = performance.now();
    await this.#run();
    return nanoseconds(began, performance.now());
  }

  /** Run an iteration from each of the items `firsts` on; return the times by part. */
  async iterate(firsts) {
    const took = { inference: [], preprocess: [] };
    let now = performance.now();
    for (const first of firsts) now = await this.#iterate(batchOf(this.#request, first), took, now);
    return took;
  }

  /** Run an iteration on `items`, fewer than a batch; return the times by part. */
  async iterateOver(items) {
    const took = { inference: [], preprocess: [] };
    await this.#iterate(items, took, performance.now());
    return took;
  }

  /** Iterate from item `first` on until there are `samples` and `ns` nanoseconds have passed. */
  async repeat(first, samples, ns) {
    const took = { inference: [], preprocess: [] };
    const { batch } = this.#request.settings;
    let now = performance.now();
    const until = now + ns / 1e6;
    for (let begin = first; took.inference.length < samples || now < until; begin += batch) {
      now = await this.#iterate(batchOf(this.#request, begin), took, now);
    }
    return took;
  }

  /** Return the outputs of the latest iteration. */
  outputs() {
    return written(this.#request.fetched.map((name) => [name, this.#outputs[name]]));
  }

  /** Return the inputs of the latest iteration. */
  inputs() {
    return written(Object.entries(this.#feed));
  }

  /** Return what is in effect. */
  facts() {
    const half = new Float32Array([2 ** -126]);
    half[0] *= 0.5;
    return {
      version: this.#ort.env.versions.web,
      threads: this.#ort.env.wasm?.numThreads,
      denormals: half[0] ? "kept" : "flushed",
    };
  }

  /** Run an iteration, add its times to `took` and return the time at its end: the next one begins there. */
  async #iterate(items, took, began) {
    const held = items.length === 1 ? this.#held[items[0]] : undefined;
    this.#feed = held ?? (await this.#makeFeed(items));
    const ready = held ? began : performance.now();
    await this.#run();
    const done = performance.now();
    took.preprocess.push(nanoseconds(began, ready));
    took.inference.push(nanoseconds(ready, done));
    return done;
  }

  async #run() {
    try {
      this.#outputs = await this.#session.run(this.#feed, this.#request.fetched);
    } catch (error) {
      throw new RunnerError("runtime-failed", reasonOf(error));
    }
  }

  async #makeFeed(items) {
    const { inputs } = this.#request.model;
    if (this.#request.workload === "classify") return { [inputs[0].name]: await this.#images(items) };
    const feeds = await Promise.all(items.map((item) => this.#held[item] ?? this.#readItem(item)));
    if (feeds.length === 1) return feeds[0];
    return Object.fromEntries(inputs.map(({ name }) => [name, join(this.#ort, feeds.map((feed) => feed[name]))]));
  }

  async #readItem(item) {
    const files = this.#request.inputs[item].tensors;
    const reads = this.#request.model.inputs.map(async ({ name }, place) => {
      const bytes = await this.#host.read(`tensor/${item}/${place}`);
      return [name, readTensor(this.#ort, files[name], bytes, `inputs[${item}].tensors.${name}`)];
    });
    return Object.fromEntries(await Promise.all(reads));
  }

  async #images(items) {
    const spec = this.#request.preprocess;
    const side = 3 * spec.crop * spec.crop;
    // every inference gets the same memory, as in the other runners
    if (this.#batch?.length !== items.length * side) this.#batch = new Float32Array(items.length * side);
    for (const [row, item] of items.entries()) {
      const { image: path } = this.#request.inputs[item];
      const bytes = new Uint8Array(await this.#host.read(`image/${item}`));
      const format = inspect(bytes, path);
      let decoded;
      try {
        decoded = await this.#host.decode(bytes);
      } catch {
        throw damaged(path, format);
      }
      preprocess(decoded, spec, this.#batch.subarray(row * side, (row + 1) * side));
    }
    return new this.#ort.Tensor("float32", this.#batch, [items.length, 3, spec.crop, spec.crop]);
  }
}

/** Return the items of a batch that starts with `first` and wraps around. */
export function batchOf(request, first) {
  const count = request.inputs.length;
  return Array.from({ length: request.settings.batch }, (_, offset) => (first + offset) % count);
}

/** Give the free dimension of an ONNX file a size, in place: a varint may be as long as the name that it replaces. */
function fixBatch(model, size) {
  const named = [0x0a, 2 + BATCH.length, 0x12, BATCH.length, ...new TextEncoder().encode(BATCH)];
  const value = [0x08, ...Array.from(BATCH, (_, digit) => 0x80 | ((size >> (7 * digit)) & 0x7f)), 0];
  for (let place = model.indexOf(named[0]); place >= 0; place = model.indexOf(named[0], place + 1)) {
    if (!named.every((byte, offset) => model[place + offset] === byte)) continue;
    model.set(value, place + 2);
  }
}

function sessionOptions({ settings, measure }, provider, fixed) {
  const entries = provider === "wasm" ? {} : { disable_cpu_ep_fallback: "1" };
  // while a process waits for its turn, it must not take CPU from the active one
  if (measure.kind === "turns") entries.force_spinning_stop = "1";
  if (settings.prepacking !== null) entries.disable_prepacking = settings.prepacking ? "0" : "1";
  const options = { executionProviders: [provider], extra: { session: entries } };
  if (settings.optimization !== null) options.graphOptimizationLevel = LEVELS[settings.optimization];
  if (settings.arena !== null) options.enableCpuMemArena = settings.arena;
  if (fixed) options.freeDimensionOverrides = { [BATCH]: settings.batch };
  return options;
}

/** Return the inputs or outputs (`what`) in the protocol's form; dtype null if the runtime does not name it (WebGL). */
function specs(session, what) {
  const names = session[`${what}Names`];
  let known = [];
  try {
    known = session[`${what}Metadata`] ?? [];
  } catch {
    // the WebGL backend has none
  }
  return names.map((name, place) => {
    const { type = null, shape = [], isTensor = true } = known[place] ?? {};
    const sides = shape.map((side) => (typeof side === "number" && side >= 0 ? side : null));
    return { name, dtype: isTensor ? dtypeOf(type) : "not a tensor", shape: sides };
  });
}

function unusable(provider, reason) {
  const message = `settings.provider: '${provider}' cannot be used: ${reason}`;
  return new RunnerError("provider-unavailable", message, "use the target ort-web-wasm");
}

function loadFailure(request, provider, error) {
  const text = reasonOf(error);
  const refused = text.includes("fallback to CPU EP has been explicitly disabled");
  // the reader of the WebGL backend is not ONNX Runtime's: it knows fewer types and operators
  if (refused || provider === "webgl") {
    const reason = refused ? "not every operation of this model runs on it, and CPU fallback is off" : text;
    return unusable(provider, reason);
  }
  if (/^unsupported data type/i.test(text)) {
    const message = `model.path: ${request.model.path}: this runner does not read or write an input or output: ${text}`;
    return new RunnerError("type-unsupported", message, "see 'Tensors on disk' in protocol/README.md");
  }
  const message = `model.path: ${request.model.path} cannot be loaded: ${text}`;
  return new RunnerError("model-unreadable", message, "export or add the model again (runoff list models)");
}

/** Return ONNX Runtime's reason without its codes, the path of the model and its source location. */
function reasonOf(error) {
  const text = String(error.message ?? error).replace(/^[^]*ERROR_MESSAGE: /, "");
  const reason = text.replace(/^Load model from .* failed:/, "").replace(/^\/.*?\) (const )?/, "");
  return oneLine(reason);
}

function written(tensors) {
  return tensors.map(([name, tensor]) => ({
    name,
    dtype: dtypeOf(tensor.type),
    shape: [...tensor.dims],
    data: content(tensor),
  }));
}

function nanoseconds(began, ended) {
  return Math.round((ended - began) * 1e6);
}
