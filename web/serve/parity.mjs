/** The difference of outputs, as runoff computes it (`runoff.records.tensors`). */

import { ARRAYS } from "../page/tensors.mjs";

/** Differences are relative to at least this. */
const SMALLEST_SCALE = 1e-3;

/**
 * Return the largest difference of `outputs` from the `expected` ones of the same names, each relative to the largest
 * absolute value expected; infinite if a shape or a value that is no number does not agree.
 *
 * @param {{name: string, dtype: string, shape: number[], data: Uint8Array}[]} outputs
 * @param {{name: string, dtype: string, shape: number[], data: Uint8Array}[]} expected
 */
export function difference(outputs, expected) {
  const found = new Map(outputs.map((tensor) => [tensor.name, tensor]));
  return Math.max(...expected.map((tensor) => largestDifference(found.get(tensor.name), tensor)));
}

function largestDifference(output, expected) {
  if (!output) return Infinity;
  const [found, wanted] = [elements(output), elements(expected)];
  if (found.length !== wanted.length) return Infinity;
  let [largest, scale] = [0, SMALLEST_SCALE];
  for (let place = 0; place < wanted.length; place += 1) {
    const [value, right] = [Number(found[place]), Number(wanted[place])];
    if (Number.isFinite(right)) scale = Math.max(scale, Math.abs(right));
    if (Object.is(value, right) || value === right) continue;
    const one = Math.abs(value - right);
    largest = Math.max(largest, Number.isNaN(one) ? Infinity : one);
  }
  return largest / scale;
}

/** Return the elements of a tensor; of strings, their bytes. */
function elements({ dtype, data }) {
  return new (ARRAYS[dtype] ?? Uint8Array)(data.slice().buffer);
}
