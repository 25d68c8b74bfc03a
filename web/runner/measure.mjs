/** The loops of the measures once, latency, accuracy and turns. */

import readline from "node:readline";

import { batchOf } from "../page/bench.mjs";
import { topClasses } from "../page/classes.mjs";
import { RunnerError } from "../page/failure.mjs";
import { readLabels, writeTensors } from "./results.mjs";

export const MEASURES = ["once", "latency", "accuracy", "turns"];

/**
 * Carry out the request's measure; return its fields of the result.
 *
 * @param {object} request
 * @param {(method: string, ...parameters: any[]) => Promise<any>} call a method of `Bench`
 * @param {import("./protocol.mjs").Phases} phases
 */
export async function measure(request, call, phases) {
  const loop = new Loop(request, call, phases);
  await loop[request.measure.kind]();
  return loop.fields();
}

class Loop {
  #request;
  #call;
  #phases;
  #took = { inference: [], preprocess: [] };
  #items = [];
  #latest = [];
  #written = new Map();
  #inputs = [];

  constructor(request, call, phases) {
    this.#request = request;
    this.#call = call;
    this.#phases = phases;
  }

  /** Run the first iteration and end the phases preprocess and inference. */
  async once() {
    const { measure: { kind }, inputs } = this.#request;
    // accuracy does not wrap around
    this.#items = batchOf(this.#request, 0).slice(0, kind === "accuracy" ? inputs.length : undefined);
    this.#took.preprocess.push(await this.#call("prepare", this.#items));
    await this.#phases.end("preprocess");
    this.#took.inference.push(await this.#call("infer"));
    await this.#phases.end("inference");
  }

  /** Run the first and second iteration, the warm-up, then warm ones until both minima are met. */
  async latency() {
    const { min_samples: samples, min_ns: ns } = this.#request.measure;
    const first = await this.#warmUp();
    const took = await this.#call("repeat", first, samples, Number(ns));
    this.#keep(took);
    this.#items = batchOf(this.#request, first + (took.inference.length - 1) * this.#request.settings.batch);
    await this.#phases.end("warm");
  }

  /** Run every item once, in order; the last batch may be smaller. */
  async accuracy() {
    const { settings: { batch }, inputs, workload, outputs_dir: folder } = this.#request;
    for (let begin = 0; begin < inputs.length; begin += batch) {
      const items = batchOf(this.#request, begin).slice(0, inputs.length - begin);
      if (begin === 0) await this.once();
      else await this.#iterate("iterateOver", items, items);
      await this.#write();
      if (workload === "classify") {
        this.#inputs.push(...writeTensors(folder, this.#items, await this.#call("inputs"), "input."));
      }
    }
    await this.#phases.end("warm");
  }

  /** Write "ready", then respond to each line of stdin: the items of a turn, or "outputs". */
  async turns() {
    await this.#warmUp();
    process.stdout.write("ready\n");
    for await (const line of readline.createInterface({ input: process.stdin })) {
      const answer = line.trim() === "outputs" ? await this.#writeLatest() : await this.#turn(line);
      process.stdout.write(`${JSON.stringify(answer)}\n`);
    }
    await this.#phases.end("warm");
  }

  /** Write the last outputs; return samples, written tensors and top-k. */
  async fields() {
    await this.#write();
    const { workload, labels, top_k: count } = this.#request;
    const parts = workload === "classify" ? ["inference", "preprocess"] : ["inference"];
    return {
      samples: Object.fromEntries(parts.map((part) => [part, timings(this.#took[part])])),
      outputs: [...this.#written.values()],
      tensors: this.#inputs,
      top: workload === "classify" ? topClasses(this.#latest[0], count, readLabels(labels)) : [],
    };
  }

  async #turn(line) {
    const firsts = readItems(line, this.#request.inputs.length);
    const took = await this.#iterateFrom(firsts);
    return this.#request.workload === "classify" ? took : { inference: took.inference };
  }

  /** Run the first two iterations and the warm-up, which is not kept; return the first item of the next one. */
  async #warmUp() {
    const { settings: { batch }, measure: { warmup }, workload } = this.#request;
    if (workload === "tensor") await this.#call("hold");
    await this.once();
    await this.#write();
    await this.#iterateFrom(Array.from({ length: 1 + warmup }, (_, place) => (place + 1) * batch));
    for (const part of Object.values(this.#took)) part.length = 2;
    return (2 + warmup) * batch;
  }

  #iterateFrom(firsts) {
    return this.#iterate("iterate", firsts, firsts.length ? batchOf(this.#request, firsts.at(-1)) : this.#items);
  }

  /** Run iterations, of which the last is on `items`. */
  async #iterate(method, which, items) {
    const took = await this.#call(method, which);
    this.#keep(took);
    this.#items = items;
    return took;
  }

  #keep(took) {
    for (const part of Object.keys(this.#took)) this.#took[part].push(...took[part]);
  }

  /** Write the latest outputs for the result, replacing an earlier entry of the same batch. */
  async #write() {
    for (const entry of await this.#writeLatest()) this.#written.set(entry.path, entry);
  }

  async #writeLatest() {
    this.#latest = await this.#call("outputs");
    return writeTensors(this.#request.outputs_dir, this.#items, this.#latest);
  }
}

function readItems(line, count) {
  return line.split(/\s+/).filter(Boolean).map((word) => {
    const item = Number(word);
    if (Number.isInteger(item) && item >= 0 && item < count && String(item) === word) return item;
    const message = `stdin: '${word.slice(0, 80)}' is not an index of the ${count} items`;
    throw new RunnerError("bad-request", message, "a turn's line holds indices of items, or the word outputs");
  });
}

function timings([first, second = null, ...warm]) {
  return { first_ns: first, second_ns: second, warm_ns: warm };
}
