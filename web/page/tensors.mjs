/** Dtypes, and tensors from files: raw little-endian elements in C order; strings with their lengths. */

import { RunnerError } from "./failure.mjs";

/** By the protocol's name: the class of the elements; strings have none. */
export const ARRAYS = {
  bool: Uint8Array,
  int8: Int8Array,
  int16: Int16Array,
  int32: Int32Array,
  int64: BigInt64Array,
  uint8: Uint8Array,
  uint16: Uint16Array,
  uint32: Uint32Array,
  uint64: BigUint64Array,
  float16: globalThis.Float16Array ?? Uint16Array,
  float32: Float32Array,
  float64: Float64Array,
  str: null,
};

const STRING = "string";
const LENGTH_BYTES = 4;

/** Return the protocol's name of ONNX Runtime's type. */
export const dtypeOf = (type) => (type === STRING ? "str" : type);

/** Return the number of elements of a shape. */
export const sizeOf = (shape) => shape.reduce((product, side) => product * side, 1);

/**
 * Return the tensor in the `content` of a file.
 *
 * @param {object} ort ONNX Runtime
 * @param {{path: string, dtype: string, shape: number[]}} file
 * @param {ArrayBuffer} content
 * @param {string} where field of the request
 */
export function readTensor(ort, file, content, where) {
  const { path, dtype, shape } = file;
  if (dtype === "str") return new ort.Tensor(STRING, readStrings(content, shape, `${where}.path: ${path}`), shape);
  const kind = ARRAYS[dtype];
  const expected = sizeOf(shape) * kind.BYTES_PER_ELEMENT;
  if (content.byteLength !== expected) {
    throw unreadable(`${where}.path: ${path} has ${content.byteLength} bytes, ${dtype} [${shape}] has ${expected}`);
  }
  const elements = new kind(content);
  if (dtype === "bool" && elements.some((element) => element > 1)) {
    throw unreadable(`${where}.path: ${path}: a bool is 0 or 1`);
  }
  return new ort.Tensor(dtype, elements, shape);
}

/** Return a tensor's elements as they are on disk. */
export function content(tensor) {
  if (tensor.type !== STRING) return new Uint8Array(tensor.data.buffer, tensor.data.byteOffset, tensor.data.byteLength);
  const texts = Array.from(tensor.data, (text) => new TextEncoder().encode(text));
  const bytes = new Uint8Array(texts.reduce((total, text) => total + LENGTH_BYTES + text.length, 0));
  let place = 0;
  for (const text of texts) {
    new DataView(bytes.buffer).setUint32(place, text.length, true);
    bytes.set(text, place + LENGTH_BYTES);
    place += LENGTH_BYTES + text.length;
  }
  return bytes;
}

/** Join tensors along their first dimension, which is 1 in each. */
export function join(ort, tensors) {
  const [{ type, dims, size }] = tensors;
  const shape = [tensors.length, ...dims.slice(1)];
  if (type === STRING) return new ort.Tensor(type, tensors.flatMap((tensor) => tensor.data), shape);
  const elements = new tensors[0].data.constructor(size * tensors.length);
  tensors.forEach((tensor, row) => elements.set(tensor.data, row * size));
  return new ort.Tensor(type, elements, shape);
}

function readStrings(buffer, shape, where) {
  const bytes = new Uint8Array(buffer);
  const texts = [];
  let place = 0;
  while (place + LENGTH_BYTES <= bytes.length) {
    const begin = place + LENGTH_BYTES;
    place = begin + new DataView(buffer).getUint32(place, true);
    try {
      texts.push(new TextDecoder("utf-8", { fatal: true }).decode(bytes.subarray(begin, place)));
    } catch {
      throw unreadable(`${where}: string ${texts.length} is not UTF-8`);
    }
  }
  if (place !== bytes.length || texts.length !== sizeOf(shape)) {
    throw unreadable(`${where} is not ${sizeOf(shape)} strings with their lengths, as str [${shape}] has`);
  }
  return texts;
}

function unreadable(message) {
  return new RunnerError("tensor-unreadable", message, "see 'Tensors on disk' in protocol/README.md");
}
