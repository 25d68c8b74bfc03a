/** The targets: which bundle of ONNX Runtime Web runs, and on which of its providers. */

/** Settings that reach WebAssembly; a GPU's session has no threads. */
const WASM = ["threads", "optimization", "arena", "prepacking", "teardown"];
const GPU = ["optimization", "prepacking", "teardown"];

/**
 * By target: `bundle` is a file of onnxruntime-web/dist, `provider` ONNX Runtime's name, `name` the protocol's,
 * `fixed` whether the model's free dimension is fixed, `switches` what Chromium needs.
 */
export const ROWS = {
  "ort-web-wasm": { bundle: "ort.wasm.bundle.min.mjs", provider: "wasm", name: "cpu", settings: WASM },
  "ort-web-webgpu": {
    bundle: "ort.webgpu.bundle.min.mjs",
    provider: "webgpu",
    name: "webgpu",
    fixed: true,
    settings: GPU,
    switches: ["--enable-unsafe-webgpu"],
  },
  "ort-web-webgpu-jsep": {
    bundle: "ort.bundle.min.mjs",
    provider: "webgpu",
    name: "webgpu",
    fixed: true,
    settings: GPU,
    switches: ["--enable-unsafe-webgpu"],
  },
  "ort-web-webgl": {
    bundle: "ort.all.bundle.min.mjs",
    provider: "webgl",
    name: "webgl",
    fixed: true,
    settings: ["teardown"],
    switches: ["--enable-unsafe-swiftshader"],
  },
  "ort-web-webnn": {
    bundle: "ort.bundle.min.mjs",
    provider: "webnn",
    name: "webnn",
    fixed: true,
    settings: GPU,
    switches: ["--enable-features=WebMachineLearningNeuralNetwork"],
  },
  "ort-node-wasm": { bundle: "ort.node.min.mjs", provider: "wasm", name: "cpu", settings: WASM, node: true },
};
