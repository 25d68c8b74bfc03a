/** The page: an input and a provider are chosen, then measured and shown. */

import { showExamples, showProviders } from "./choices.mjs";
import { byId } from "./dom.mjs";
import { fromExample, fromFile } from "./inputs.mjs";
import { measure } from "./measure.mjs";
import { providers } from "./providers.mjs";
import { showFailure, showFirst, showHead, showIdle, showProgress, showResult, showStart } from "./results.mjs";

const [served, offered] = await Promise.all([fetch("model.json").then((response) => response.json()), providers()]);
const usable = offered.filter(({ missing }) => !missing);
/** The result is below what is chosen. */
const NARROW = matchMedia("(max-width: 56rem)");
let input = null;
let provider = offered[0];
let running = new AbortController();

/** Measure the input with each of `chosen`; what still runs is stopped. */
async function run(...chosen) {
  const { signal } = restart();
  if (NARROW.matches) byId("result").scrollIntoView();
  let failed = false;
  for (const one of chosen) {
    showStart(input, one);
    const onStep = (step) => (step.outputs ? showFirst(step, input, served) : showProgress(step));
    try {
      const result = await measure(input, one, { served, reference: offered[0], signal, onStep });
      if (!signal.aborted) showResult(result, input, one, served);
    } catch (error) {
      if (!signal.aborted) showFailure(error, input, one);
      // others would fail too
      failed = error.kind !== "provider-unavailable";
    }
    if (signal.aborted || failed) break;
  }
  if (running.signal !== signal) return;
  if (signal.aborted) showHead("Stopped");
  else if (chosen.length > 1 && !failed) showHead("Measured with all providers", `${input.name}, ${input.model.name}`);
  showIdle();
}

/** Stop what runs; return the controller of what runs next. */
function restart() {
  running.abort();
  running = new AbortController();
  return running;
}

/** Measure a file that was dropped or chosen. */
function take(file) {
  if (!file) return;
  try {
    choose(fromFile(file, served));
  } catch (error) {
    restart();
    showFailure(error);
    showIdle();
  }
}

function choose(chosen) {
  input = chosen;
  for (const button of document.querySelectorAll("#examples button")) {
    button.ariaPressed = String(button.input === chosen);
  }
  run(provider);
}

if (!served.preprocess) document.querySelector("#drop b").textContent = "Choose or drop an .onnx file";
byId("browser").textContent = `${served.name}, ${navigator.hardwareConcurrency} cores`;
showExamples(served.examples.map((example) => fromExample(example, served)), choose);
showProviders(offered, (chosen) => {
  provider = chosen;
  if (input) run(provider);
});
byId("file").addEventListener("change", ({ target }) => {
  take(target.files[0]);
  target.value = "";
});
byId("again").addEventListener("click", () => (byId("again").dataset.stops ? running.abort() : run(provider)));
byId("all").addEventListener("click", () => run(...usable));
for (const name of ["dragover", "dragleave", "drop"]) {
  addEventListener(name, (event) => {
    event.preventDefault();
    byId("drop").classList.toggle("over", name === "dragover");
    if (name === "drop") take(event.dataTransfer.files[0]);
  });
}
