/** The program: arguments, capabilities, the result, the exit code. */

import fs from "node:fs";

import { RunnerError, oneLine } from "../page/failure.mjs";
import { reader } from "./files.mjs";
import { MEASURES, measure } from "./measure.mjs";
import { TreeMemory } from "./memory.mjs";
import { checkFile, checkInputs, checkItems, checkWholeBatches, outputNames, rowsAreBatch } from "./model.mjs";
import { versionOf } from "./modules.mjs";
import { Phases, VERSION, writeJson } from "./protocol.mjs";
import { checkRequest, readRequest, reasonOf } from "./request.mjs";
import { ROWS } from "./rows.mjs";
import { ownBytes } from "./system.mjs";

const PRECISIONS = ["fp32", "fp16", "int8", "int8-static"];
const SETTINGS = [
  ...["threads", "inter_threads", "optimization", "spinning", "spin_duration_us", "spin_backoff_max"],
  ...["arena", "prepacking", "execution", "teardown", "prepared", "overlap"],
];

/** Run the program and exit. `began` is the time at its first line. */
export async function main([target, ...options], began) {
  const row = ROWS[target];
  if (row && options.length === 1 && ["--capabilities", "--probe"].includes(options[0])) {
    process.exit(await printCapabilities(target, row));
  }
  const [request, file, result, to] = options;
  if (!row || options.length !== 4 || request !== "--request" || result !== "--result") {
    const names = Object.keys(ROWS).join("|");
    process.stderr.write(`usage: main.mjs ${names} --request FILE --result FILE | --capabilities\n`);
    process.exit(2);
  }
  const runner = new Runner(target, row, began);
  const fields = await runner.answer(file);
  try {
    writeJson(to, fields);
  } catch (error) {
    process.stderr.write(`${target}: cannot write --result ${to}: ${reasonOf(error)}\n`);
    runner.exitCode ||= 1;
  }
  await runner.close();
  process.exit(runner.exitCode);
}

/** One request and its result. */
class Runner {
  exitCode = 0;
  #name;
  #row;
  #phases;
  #case = "";
  #engine = null;
  #memory = null;
  #leaves = false;

  constructor(name, row, began) {
    this.#name = name;
    this.#row = row;
    this.#phases = new Phases(began);
  }

  /** Carry out the request in `path`; return the result, also of a failure. */
  async answer(path) {
    try {
      return await this.#perform(path);
    } catch (error) {
      const failure = error instanceof RunnerError ? error : unforeseen(error);
      this.exitCode = failure.exitCode;
      const { status, kind, message, hint } = failure;
      process.stderr.write(`${this.#name}: ${kind}: ${message}\n`);
      return { ...this.#head(), status, kind, message, hint, phases: this.#phases.done };
    } finally {
      this.#memory?.stop();
    }
  }

  /** End what the request started. */
  async close() {
    await this.#engine?.close({ now: this.#leaves });
  }

  async #perform(path) {
    const document = readRequest(path);
    this.#case = typeof document.case === "string" ? document.case : "";
    const request = checkRequest(document);
    this.#check(request);
    if (request.measure.memory && !this.#row.node) this.#memory = new TreeMemory();
    this.#memory?.start();
    const resident = this.#memory?.sample ?? (() => ownBytes("VmRSS"));
    this.#phases.begin(request.spawn_ns, request.measure.memory ? resident : null);
    await this.#open(request);
    await this.#load(request);
    const fields = await measure(request, this.#call, this.#phases);
    const effective = await this.#effective(request);
    await this.#phases.end("output");
    this.#leaves = request.settings.teardown === "skip";
    const peak = this.#row.node ? ownBytes("VmHWM") : (this.#memory?.peak ?? null);
    const memory = { peak_bytes: peak, after: this.#phases.resident, method: this.#memory?.method ?? null };
    return { ...this.#head(), status: "ok", phases: this.#phases.done, ...fields, memory, effective };
  }

  #check(request) {
    const { settings, model, measure: { kind } } = request;
    this.#supports("model.format", model.format, this.#row.formats);
    this.#supports("measure.kind", kind, MEASURES);
    if (!PRECISIONS.includes(settings.precision)) {
      const known = PRECISIONS.join(" or ");
      const message = `settings.precision: ${this.#name} computes in ${known}, not '${settings.precision}'`;
      throw new RunnerError("provider-unavailable", message, 'set precision = "fp32"');
    }
    if (settings.provider !== this.#row.name) {
      const message = `settings.provider: ${this.#name} computes on '${this.#row.name}', not on '${settings.provider}'`;
      throw new RunnerError("provider-unavailable", message, "use another target");
    }
    if (!fs.statSync(request.outputs_dir, { throwIfNoEntry: false })?.isDirectory()) {
      throw new RunnerError("bad-request", `outputs_dir: no such folder: ${request.outputs_dir}`, "make it first");
    }
    checkItems(request);
    if (this.#row.fixed) checkWholeBatches(request);
    checkFile(model);
  }

  #supports(field, value, known) {
    if (known.includes(value)) return;
    const message = `${field}: '${value}' is not among what ${this.#name} can do (${known.join(", ")})`;
    throw new RunnerError("bad-request", message, "see the runner's --capabilities");
  }

  async #open(request) {
    const engine = await engineOf(this.#row);
    this.#engine = await engine.open(this.#row, reader(request), this.#phases, request);
    const { bundle, provider } = this.#row;
    // a native library starts with its first session
    if (!bundle) return;
    try {
      await this.#engine.call("start", bundle, { provider, threads: request.settings.threads });
    } catch (error) {
      const { missing = null } = await this.#engine.call("device", provider);
      throw missing ? new RunnerError("provider-unavailable", missing, "use the target ort-web-wasm") : error;
    }
    await this.#phases.end("runtime");
  }

  /** Load the model and check it against the request. */
  async #load(request) {
    const fixed = Boolean(this.#row.fixed) && rowsAreBatch(request);
    const { workload, model, inputs, preprocess, settings, measure: { kind } } = request;
    const needed = { workload, model, inputs, preprocess, settings, measure: { kind } };
    const found = await this.#engine.call("load", needed, { provider: this.#row.provider, fixed });
    checkInputs(found.inputs, request);
    await this.#engine.call("fetch", outputNames(found.outputs, request));
    await this.#phases.end("load");
  }

  /** Call the engine; tensors come as bytes. */
  #call = (method, ...parameters) =>
    ["inputs", "outputs"].includes(method) ? this.#engine.tensors(method) : this.#engine.call(method, ...parameters);

  /** Return the settings in effect, as read back. */
  async #effective(request) {
    const facts = await this.#engine.call("facts");
    const { name: device } = await this.#engine.call("device", this.#row.provider);
    return {
      runtime: this.#row.runtime,
      version: facts.version,
      language: "javascript",
      provider: this.#row.name,
      threads: this.#row.settings.includes("threads") ? facts.threads : null,
      build: await this.#engine.version(),
      library: facts.library ?? null,
      denormals: facts.denormals,
      allocator: facts.allocator ?? null,
      image_decoder: facts.decoder ?? null,
      device,
      isolated: facts.isolated ?? null,
      clock_step_ns: facts.clock ?? null,
      fetched: this.#engine.sent ?? null,
      ignored: this.#ignored(request),
      practices: facts.practices ?? [],
    };
  }

  /** Return the requested settings that are not applied; `prepared` needs the format of a prepared file. */
  #ignored({ settings, model }) {
    const unprepared = settings.prepared && model.format !== (settings.prepared === "onnx" ? "onnx" : "ort");
    const isApplied = (name) => this.#row.settings.includes(name) && !(name === "prepared" && unprepared);
    return SETTINGS.filter((name) => settings[name] !== null && !isApplied(name));
  }

  #head() {
    return { protocol: VERSION, case: this.#case };
  }
}

async function engineOf(row) {
  if (!row.bundle) return (await import("./native.mjs")).Native;
  return row.node ? (await import("./node.mjs")).InProcess : (await import("./browser.mjs")).Page;
}

/** Print the capabilities on this machine; return 0, or 3 if the runner cannot run. */
async function printCapabilities(target, row) {
  const capabilities = { protocol: [VERSION], runner: target, language: "javascript", runtime: row.runtime };
  try {
    capabilities.version = versionOf(row.bundle ? "onnxruntime-web" : "onnxruntime-node");
    Object.assign(capabilities, row.bundle ? {} : (await import("./native.mjs")).libraryOf(), {
      workloads: ["classify", "tensor"],
      formats: row.formats,
      measures: MEASURES,
      settings: row.settings,
      precisions: PRECISIONS,
      providers: [row.name],
    });
  } catch (error) {
    const { kind, message, hint } = error instanceof RunnerError ? error : unforeseen(error);
    capabilities.unavailable = { kind, message, hint };
  }
  process.stdout.write(`${JSON.stringify(capabilities)}\n`);
  return capabilities.unavailable ? 3 : 0;
}

function unforeseen(error) {
  if (error.code === "ENOSPC") {
    return new RunnerError("no-space", error.message, "free some space on the disk of outputs_dir");
  }
  process.stderr.write(`${error.stack}\n`);
  const hint = "this is a bug in the runner: report it with the text on stderr";
  return new RunnerError("internal", oneLine(`${error.name}: ${error.message}`), hint);
}
