/** One measurement, in a worker of its own: a new runtime, one model, one input. The page stays responsive. */

import { Bench } from "../page/bench.mjs";
import { RunnerError } from "../page/failure.mjs";
import { decode, threads } from "../page/host.mjs";
import { ARRAYS } from "../page/tensors.mjs";
import { generate } from "./inputs.mjs";

/** WebAssembly is compiled in tiers, the last one after about so many inferences. */
const WARM_UP = 20;
const RUNS = 100;
/** Of the warm-up, and of the runs: an emulated GPU takes seconds for one. */
const LIMIT_MS = 3000;
const PROGRESS_EVERY_MS = 200;

addEventListener("message", async ({ data: job }) => {
  try {
    postMessage({ ended: await measure(job) });
  } catch ({ kind = "internal", message, hint = "" }) {
    postMessage({ error: { kind, message, hint } });
  }
});

/**
 * Measure `job`: an input, `row` and `threads` of the provider, `preprocess` of the model, `specs` of its inputs if
 * they are known, and `warm`: whether there are more runs than the first.
 */
async function measure(job) {
  const { row, model, image } = job;
  const phases = phaseClock();
  const ort = await import(`/ort/${row.bundle}`);
  const request = {
    workload: image ? "classify" : "tensor",
    model: { path: model.name },
    inputs: [{ image: job.name }],
    preprocess: job.preprocess,
    settings: { batch: 1, optimization: null, arena: null, prepacking: null },
    measure: { kind: "latency" },
  };
  const bench = new Bench({ ort, decode, read: reader(job, request) });
  await bench.start({ provider: row.provider, threads: job.threads });
  phases.end("runtime");
  const found = await bench.load(request, { provider: row.provider, fixed: Boolean(row.fixed) });
  request.model.inputs = job.specs ?? found.inputs;
  bench.fetch(found.outputs.filter(({ dtype }) => dtype === null || dtype in ARRAYS).map(({ name }) => name));
  phases.end("load");
  if (!image) {
    request.inputs[0].tensors = job.tensors ?? generate(request.model.inputs);
    await bench.hold();
  }
  await bench.prepare([0]);
  phases.end("preprocess");
  await bench.infer();
  phases.end("inference");
  const tensors = Object.entries(request.inputs[0].tensors ?? {});
  const inputs = tensors.map(([name, { dtype, shape }]) => ({ name, dtype, shape }));
  const result = { phases: phases.took, outputs: [bench.outputs()], inputs, specs: request.model.inputs };
  if (!job.warm) return result;
  postMessage(result);
  await repeat(bench, WARM_UP, "warming up");
  result.samples = await repeat(bench, RUNS, "measuring");
  result.outputs.push(bench.outputs());
  result.effective = { version: bench.facts().version, threads: threads() };
  return result;
}

/** Run the model up to `count` times; return the times in milliseconds. */
async function repeat(bench, count, step) {
  const times = [];
  const began = performance.now();
  let reported = 0;
  for (let now = began; times.length < count && now - began < LIMIT_MS; now = performance.now()) {
    if (now - reported > PROGRESS_EVERY_MS) {
      postMessage({ step, done: times.length / count });
      reported = now;
    }
    times.push((await bench.infer()) / 1e6);
  }
  return times;
}

function phaseClock() {
  const took = {};
  let since = performance.now();
  return {
    took,
    end(name) {
      const now = performance.now();
      took[name] = now - since;
      since = now;
    },
  };
}

/** Return what reads a file of the request for `Bench`, by its name there. */
function reader(job, request) {
  return async (name) => {
    const [what, file, place] = name.split("/");
    if (what === "model") return bytes(job.model.file);
    if (what === "external") return external(job.model, file);
    if (what === "image") return bytes(job.image);
    const { data, path } = request.inputs[0].tensors[request.model.inputs[place].name];
    return data ?? bytes(path);
  };
}

function external({ name, file: main }, file) {
  if (typeof main === "string") return bytes(`model/${file}`);
  throw new RunnerError("model-unreadable", `${name} has weights in another file, ${file}; the page reads only one`);
}

async function bytes(file) {
  return (typeof file === "string" ? await fetch(file) : file).arrayBuffer();
}
