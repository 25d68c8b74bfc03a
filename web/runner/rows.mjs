/** The targets: which package and bundle of ONNX Runtime runs, and on which of its providers. */

/** Settings that reach WebAssembly; a GPU's session has no threads. */
const WASM = ["threads", "optimization", "arena", "prepacking", "teardown"];
const GPU = ["optimization", "prepacking", "teardown"];
const NATIVE = [
  ...["threads", "inter_threads", "optimization", "spinning", "spin_duration_us", "spin_backoff_max"],
  ...["arena", "prepacking", "execution", "teardown", "prepared"],
];

const WEB = { runtime: "onnxruntime-web", formats: ["onnx"] };

/**
 * By target: `runtime` is the protocol's name of the engine, `formats` are those that it reads, `bundle` is a file of
 * onnxruntime-web/dist, `provider` ONNX Runtime's name, `name` the protocol's, `fixed` whether the model's free
 * dimension is fixed, `switches` what Chromium needs, `node` whether it runs in this process, without a browser.
 * Without a bundle, the native library of onnxruntime-node runs.
 */
export const ROWS = {
  "ort-web-wasm": { ...WEB, bundle: "ort.wasm.bundle.min.mjs", provider: "wasm", name: "cpu", settings: WASM },
  "ort-web-webgpu": {
    ...WEB,
    bundle: "ort.webgpu.bundle.min.mjs",
    provider: "webgpu",
    name: "webgpu",
    fixed: true,
    settings: GPU,
    switches: ["--enable-unsafe-webgpu"],
  },
  "ort-web-webgpu-jsep": {
    ...WEB,
    bundle: "ort.bundle.min.mjs",
    provider: "webgpu",
    name: "webgpu",
    fixed: true,
    settings: GPU,
    switches: ["--enable-unsafe-webgpu"],
  },
  "ort-web-webgl": {
    ...WEB,
    bundle: "ort.all.bundle.min.mjs",
    provider: "webgl",
    name: "webgl",
    fixed: true,
    settings: ["teardown"],
    switches: ["--enable-unsafe-swiftshader"],
  },
  "ort-web-webnn": {
    ...WEB,
    bundle: "ort.bundle.min.mjs",
    provider: "webnn",
    name: "webnn",
    fixed: true,
    settings: GPU,
    switches: ["--enable-features=WebMachineLearningNeuralNetwork"],
  },
  "ort-node-wasm": {
    ...WEB,
    bundle: "ort.node.min.mjs",
    provider: "wasm",
    name: "cpu",
    settings: WASM,
    node: true,
  },
  "ort-node": {
    runtime: "onnxruntime",
    formats: ["onnx", "ort"],
    provider: "cpu",
    name: "cpu",
    settings: NATIVE,
    node: true,
  },
};
