/** What is measured: an example of the model, an image, or an ONNX file, whose inputs are generated. */

import { RunnerError } from "../page/failure.mjs";
import { ARRAYS, sizeOf } from "../page/tensors.mjs";

const COLOURS = [1, 3, 4];
/** Squares along each side of a generated image: a network sees nothing in noise. */
const SQUARES = 8;

/**
 * An input: `name`, `model` (a name and the file or its address), `image` (a file or its address; null for tensors),
 * `tensors` by name (null if they are generated), and `references` by the name of the output, if there are any.
 *
 * @typedef {{name: string, model: {name: string, file: Blob | string}, image: Blob | string | null,
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
  return { name: file.name, model: stored(served), image: file, tensors: null, references: null };
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
      if (!ARRAYS[dtype]) throw new RunnerError("type-unsupported", `input '${name}' is ${dtype ?? "of an unknown type"}`);
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
  if (dtype === "bool" || /int/.test(dtype)) return made.map(() => convert(Math.floor(2 * random())));
  if (shape.length === 4 && (COLOURS.includes(shape[1]) || COLOURS.includes(shape[3]))) return squares(made, shape, random);
  return made.map(() => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random()));
}

/** Fill an image with coloured squares, 0 to 1. */
function squares(made, shape, random) {
  const palette = Float32Array.from({ length: shape.reduce((size, side) => size * Math.min(side, SQUARES), 1) }, random);
  return made.map((_, place) => {
    let [at, rest, step] = [0, place, 1];
    for (const side of shape.toReversed()) {
      const few = Math.min(side, SQUARES);
      at += step * Math.floor(((rest % side) * few) / side);
      rest = Math.floor(rest / side);
      step *= few;
    }
    return palette[at];
  });
}

/** Return a function that gives numbers from 0 to 1, by the method of mulberry32. */
function generator(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
