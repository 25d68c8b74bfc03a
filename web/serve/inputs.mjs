/** What is measured: an example of the model, an image, or an ONNX file, whose inputs are generated. */

import { RunnerError } from "../page/failure.mjs";
import { ARRAYS, sizeOf } from "../page/tensors.mjs";

/**
 * An input: `name`, `model` (a name and the file or its address), `image` (the address; null for tensors), `tensors` by
 * name (null if they are generated), and `references` by the name of the output, if there are any.
 *
 * @typedef {{name: string, model: {name: string, file: Blob | string}, image: string | null,
 *            tensors: object | null, references: object | null}} Input
 */

/** Return the input in a file that was dropped or chosen; an image is for the `served` model. */
export function fromFile(file, served) {
  if (/\.onnx$/i.test(file.name)) {
    return { name: file.name, model: { name: file.name, file }, image: null, tensors: null, references: null };
  }
  if (!served.preprocess) {
    throw new RunnerError("image-unreadable", `${file.name}: ${served.name} takes no images`, "Drop an .onnx file.");
  }
  return { name: file.name, model: stored(served), image: URL.createObjectURL(file), tensors: null, references: null };
}

/** Return one of the examples that are stored with the `served` model. */
export function fromExample({ name, image, tensors, references }, served) {
  const compared = Object.keys(references).length ? references : null;
  return { name, model: stored(served), image, tensors: image ? null : tensors, references: compared };
}

/** Return generated tensors for the inputs of a model, with its free dimensions at 1. They are always the same ones. */
export function generate(specs) {
  const random = generator(1);
  return Object.fromEntries(
    specs.map(({ name, dtype, shape: sides }) => {
      if (!ARRAYS[dtype]) throw new RunnerError("type-unsupported", `input '${name}' is ${dtype ?? "of unknown type"}`);
      const shape = sides.map((side) => side ?? 1);
      return [name, { path: "generated", dtype, shape, data: values(name, dtype, shape, random).buffer }];
    }),
  );
}

function stored({ name }) {
  return { name, file: "model/model.onnx" };
}

function values(name, dtype, shape, random) {
  const made = new ARRAYS[dtype](sizeOf(shape));
  const convert = /^u?int64$/.test(dtype) ? BigInt : Number;
  if (/mask/i.test(name)) return made.fill(convert(1));
  if (dtype === "bool" || /int/.test(dtype)) return made.map(() => convert(Math.round(random())));
  // stripes: a network sees nothing in noise, and its outputs would be tiny
  if (shape.length === 4) return made.map((_, place) => (1 + Math.sin(place / 3)) / 2);
  return made.map(() => 2 * random() - 1);
}

/** Return a function that gives numbers from 0 to 1: Park and Miller's generator. */
function generator(seed) {
  let state = seed;
  return () => {
    state = (48271 * state) % 2147483647;
    return state / 2147483647;
  };
}
