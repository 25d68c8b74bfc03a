/** Reading and checking the request, by protocol/request.schema.json, which also has the defaults. */

import fs from "node:fs";

import { RunnerError } from "../page/failure.mjs";
import { VERSION, parse } from "./protocol.mjs";

const SCHEMA = new URL("../../protocol/request.schema.json", import.meta.url);
const TYPES = {
  string: ["text", (value) => typeof value === "string"],
  boolean: ["true or false", (value) => typeof value === "boolean"],
  integer: ["a whole number", (value) => Number.isInteger(value) || typeof value === "bigint"],
  number: ["a number", (value) => typeof value === "number" || typeof value === "bigint"],
  array: ["a list", Array.isArray],
  object: ["an object", isObject],
  null: ["null", (value) => value === null],
};
let definitions;

/** Read the JSON object in the file `path` without checking its fields. */
export function readRequest(path) {
  let document;
  try {
    document = parse(fs.readFileSync(path, "utf8"));
  } catch (error) {
    if (error.code) throw bad(`request ${path}: ${reasonOf(error)}`);
    throw bad(`request ${path} is not JSON: ${error.message}`);
  }
  if (!isObject(document)) throw bad(`request ${path} holds ${kindOf(document)}, not an object`);
  return document;
}

/** Return the request with its defaults filled in. */
export function checkRequest(document) {
  const version = document.protocol ?? VERSION;
  if (version !== VERSION) {
    const message = `protocol: the request speaks version ${kindOf(version)}, this runner speaks ${VERSION}`;
    throw new RunnerError("bad-request", message, "use the runoff and the runners of one release");
  }
  definitions ??= parse(fs.readFileSync(SCHEMA, "utf8")).$defs;
  const request = check(document, definitions.Request, "");
  checkWorkload(request);
  return request;
}

/** Return the text of a system error, as in "no such file or directory". */
export function reasonOf(error) {
  return error.message.replace(/^\w+: /, "").split(",")[0];
}

function checkWorkload({ workload, inputs, preprocess, model }) {
  const needed = workload === "tensor" ? "tensors" : "image";
  if (!inputs.length) throw bad("inputs: is empty", "name at least one item");
  if (workload === "segment") throw bad("workload: 'segment' is not among what this runner can do (classify, tensor)");
  inputs.forEach((item, number) => {
    if (item[needed] === null) throw bad(`inputs[${number}].${needed}: is missing, workload '${workload}' needs it`);
  });
  if (workload !== "classify") return;
  if (preprocess === null) throw bad("preprocess: is missing, workload 'classify' needs it");
  if (preprocess.crop > preprocess.resize) {
    throw bad(`preprocess.crop: ${preprocess.crop} is larger than resize, ${preprocess.resize}`);
  }
  if (preprocess.std.includes(0)) throw bad("preprocess.std: a zero cannot be divided by");
  if (model.inputs.length !== 1) {
    throw bad("model.inputs: workload 'classify' needs a model with one input", "use workload 'tensor'");
  }
}

/** Return `value` with the defaults of `schema`; `where` is the name of its field. */
function check(value, schema, where) {
  if (schema.$ref) return check(value, definitions[schema.$ref.split("/").at(-1)], where);
  if (schema.discriminator) return checkChoice(value, schema.discriminator, where);
  if (schema.anyOf) return checkAny(value, schema.anyOf, where);
  if (schema.enum && !schema.enum.includes(value)) {
    throw wrong(value, `one of ${schema.enum.map(kindOf).join(", ")}`, where);
  }
  if (schema.type && !TYPES[schema.type][1](value)) throw wrong(value, TYPES[schema.type][0], where);
  if (value < schema.minimum || value > schema.maximum) throw wrong(value, rangeOf(schema), where);
  if (schema.type === "array") return checkItems(value, schema, where);
  return schema.type === "object" ? checkFields(value, schema, where) : value;
}

function checkChoice(value, { propertyName, mapping }, where) {
  if (!isObject(value)) throw wrong(value, "an object", where);
  const kind = value[propertyName];
  if (!Object.hasOwn(mapping, kind)) {
    throw wrong(kind, `one of ${Object.keys(mapping).map(kindOf).join(", ")}`, `${where}.${propertyName}`);
  }
  return check(value, { $ref: mapping[kind] }, where);
}

function checkAny(value, schemas, where) {
  if (value === null && schemas.some(({ type }) => type === "null")) return null;
  const failures = [];
  for (const schema of schemas) {
    try {
      return check(value, schema, where);
    } catch (failure) {
      failures.push(failure);
    }
  }
  throw failures[0];
}

function checkItems(list, { items, prefixItems, minItems = 0, maxItems = Infinity }, where) {
  if (list.length < minItems || list.length > maxItems) {
    throw bad(`${where}: has ${list.length} numbers, not ${minItems}`);
  }
  return list.map((item, place) => check(item, prefixItems?.[place] ?? items, `${where}[${place}]`));
}

function checkFields(fields, { properties = {}, required = [], additionalProperties }, where) {
  const prefix = where && `${where}.`;
  const known = {};
  for (const [name, value] of Object.entries(fields)) {
    const schema = Object.hasOwn(properties, name) ? properties[name] : additionalProperties;
    if (!schema) throw bad(`${prefix}${name}: unknown field`);
    known[name] = check(value, schema, prefix + name);
  }
  for (const name of required) if (!Object.hasOwn(fields, name)) throw bad(`${prefix}${name}: is missing`);
  for (const [name, schema] of Object.entries(properties)) {
    if (!Object.hasOwn(fields, name) && "default" in schema) known[name] = check(schema.default, schema, prefix + name);
  }
  return known;
}

function rangeOf({ minimum, maximum }) {
  return `a whole number from ${minimum}${Number.isSafeInteger(maximum) ? ` to ${maximum}` : ""}`;
}

function kindOf(value) {
  if (isObject(value)) return "an object";
  if (Array.isArray(value)) return "a list";
  return typeof value === "string" ? `'${value.slice(0, 80)}'` : String(value ?? null);
}

function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function wrong(value, expected, where) {
  return bad(`${where}: is ${kindOf(value)}, not ${expected}`);
}

function bad(message, hint = "see protocol/request.schema.json") {
  return new RunnerError("bad-request", message, hint);
}
