/** The files of a request, by the names that the page uses: model, image/ITEM, tensor/ITEM/INPUT. */

import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";

import { RunnerError } from "../page/failure.mjs";
import { reasonOf } from "./request.mjs";

/** Return the function that reads a file of the request by its name. */
export function reader({ model, inputs }) {
  const reads = { model: () => readModel(model.path) };
  inputs.forEach(({ image, tensors }, item) => {
    if (image) reads[`image/${item}`] = () => readImage(image);
    model.inputs.forEach(({ name }, place) => {
      const where = `inputs[${item}].tensors.${name}`;
      if (tensors) reads[`tensor/${item}/${place}`] = () => readTensorFile(tensors[name].path, where);
    });
  });
  return async (name) => {
    if (Object.hasOwn(reads, name)) return reads[name]();
    const [, external] = name.match(/^external\/([\w.-]+)$/) ?? [];
    if (external) return readModel(join(dirname(model.path), external));
    const message = `model.path: ${model.path} names the file ${name}, which is not next to it`;
    throw new RunnerError("model-unreadable", message, "export the model again, into one folder");
  };
}

async function readModel(path) {
  try {
    return await readFile(path);
  } catch (error) {
    throw new RunnerError("model-unreadable", `model.path: ${path} cannot be loaded: ${reasonOf(error)}`);
  }
}

async function readImage(path) {
  try {
    return await readFile(path);
  } catch (error) {
    if (error.code === "ENOENT") throw new RunnerError("image-missing", `image ${path}: not found`, "check the path");
    throw new RunnerError("image-unreadable", `image ${path}: ${reasonOf(error)}`, "check the path");
  }
}

async function readTensorFile(path, where) {
  try {
    return await readFile(path);
  } catch (error) {
    throw new RunnerError("tensor-unreadable", `${where}.path: ${path}: ${reasonOf(error)}`);
  }
}
