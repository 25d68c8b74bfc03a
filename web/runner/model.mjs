/** Checks that the model, the request and the items match. */

import fs from "node:fs";

import { RunnerError } from "../page/failure.mjs";
import { ARRAYS } from "../page/tensors.mjs";

/** Check that the model's file exists. */
export function checkFile({ path }) {
  if (!fs.statSync(path, { throwIfNoEntry: false })?.isFile()) {
    const hint = "export or add the model again (runoff list models)";
    throw new RunnerError("model-missing", `model.path: no such file: ${path}`, hint);
  }
}

/** Check that the tensors of each item match the request's model inputs, and if they are joined, each other. */
export function checkItems({ workload, model, inputs, settings }) {
  if (workload !== "tensor") return;
  const specs = new Map(model.inputs.map((spec) => [spec.name, spec]));
  inputs.forEach(({ tensors }, number) => {
    const names = Object.keys(tensors);
    if (names.length !== specs.size || !names.every((name) => specs.has(name))) {
      const found = names.join(", ") || "nothing";
      throw mismatch(`inputs[${number}].tensors: names ${found}; the model takes ${[...specs.keys()].join(", ")}`);
    }
    for (const name of names) {
      checkItem(tensors[name], specs.get(name), settings.batch, `inputs[${number}].tensors.${name}`);
      if (settings.batch > 1 && String(tensors[name].shape) !== String(inputs[0].tensors[name].shape)) {
        const message = `inputs[${number}] has other shapes than inputs[0], and they are joined in a batch`;
        throw new RunnerError("bad-request", message, "set batch = 1, or use items of the same shapes");
      }
    }
  });
}

/** Check that all batches are full, for a session with a fixed batch size. */
export function checkWholeBatches({ settings, measure, inputs }) {
  if (measure.kind !== "accuracy" || inputs.length % settings.batch === 0) return;
  const unfilled = `${inputs.length} items do not fill batches of ${settings.batch}`;
  const message = `settings.batch: ${unfilled}, and provider '${settings.provider}' needs whole batches`;
  throw new RunnerError("bad-request", message, "use a multiple of the batch size");
}

/** Return whether the first dimension of each input runs over the items of a batch. */
export function rowsAreBatch({ workload, settings, inputs }) {
  if (workload !== "tensor" || settings.batch > 1) return true;
  return inputs.every(({ tensors }) => Object.values(tensors).every(({ shape }) => shape[0] === 1));
}

/** Check the inputs that the runtime found in the model's file against the request. */
export function checkInputs(found, { model, workload, settings }) {
  const wanted = new Map(model.inputs.map((spec) => [spec.name, spec]));
  for (const { name, dtype } of found) if (!isKnown(dtype)) throw unsupported("input", name, dtype);
  if (found.length !== wanted.size || !found.every(({ name }) => wanted.has(name))) {
    throw mismatch(`model.inputs: names ${[...wanted.keys()].join(", ")}; the file has ${listed(found)}`);
  }
  for (const { name, dtype, shape } of found) {
    const spec = wanted.get(name);
    if (dtype !== null && dtype !== spec.dtype) {
      throw mismatch(`model.inputs: ${name} is ${spec.dtype}; in the file ${dtype}`);
    }
    if (shape.length && !agree(shape, spec.shape)) {
      throw mismatch(`model.inputs: ${name} is ${shown(spec.shape)}; in the file ${shown(shape)}`);
    }
    const fixed = shape[0] ?? null;
    if ((workload !== "tensor" || settings.batch > 1) && fixed !== null && fixed !== settings.batch) {
      throw mismatch(`settings.batch: is ${settings.batch}; input ${name} of the model is fixed at ${fixed}`);
    }
  }
}

/** Return the names of the requested outputs; if none are requested, of all tensors in the model's file. */
export function outputNames(found, { model }) {
  const known = new Map(found.map((spec) => [spec.name, spec]));
  const wanted = model.outputs.map(({ name }) => name);
  if (!wanted.every((name) => known.has(name))) {
    throw mismatch(`model.outputs: names ${wanted.join(", ")}; the file has ${listed(found)}`);
  }
  const tensors = found.filter(({ dtype }) => isKnown(dtype)).map(({ name }) => name);
  const names = wanted.length ? wanted : tensors.length ? tensors : [found[0].name];
  for (const name of names) {
    const { dtype } = known.get(name);
    if (!isKnown(dtype)) throw unsupported("output", name, dtype);
  }
  return names;
}

function checkItem(file, spec, batch, where) {
  if (file.dtype !== spec.dtype) throw mismatch(`${where}: is ${file.dtype}; the model takes ${spec.dtype}`);
  if (!(file.dtype in ARRAYS)) throw unsupported("input", spec.name, file.dtype);
  const takes = batch > 1 ? [1, ...spec.shape.slice(1)] : spec.shape;
  const one = batch > 1 ? `, and one item of a batch of ${batch} has 1 in its first dimension` : "";
  if (!agree(takes, file.shape)) {
    throw mismatch(`${where}: has shape ${shown(file.shape)}; the model takes ${shown(takes)}${one}`);
  }
}

/** Return whether a tensor of this dtype is read and written; null is one that the runtime does not name. */
function isKnown(dtype) {
  return dtype === null || dtype in ARRAYS;
}

function agree(one, other) {
  const fits = (side, place) => side === null || [side, null].includes(other[place]);
  return one.length === other.length && one.every(fits);
}

function listed(specs) {
  return specs.map(({ name }) => name).join(", ");
}

function shown(shape) {
  return `[${shape.map(String).join(", ")}]`;
}

function mismatch(message) {
  return new RunnerError("model-mismatch", message, "compare the request with the model's manifest");
}

function unsupported(what, name, kind) {
  const message = `the model's ${what} '${name}' is ${kind}, which this runner does not read or write`;
  const hint = "see 'Tensors on disk' in protocol/README.md; outputs can be left out of the request";
  return new RunnerError("type-unsupported", message, hint);
}
