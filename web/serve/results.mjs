/** What is shown while something is measured, and after it. */

import { topClasses } from "../page/classes.mjs";
import { describe, labelCard, latencyCard, outputCard, parityCard, showCold, withheldCard } from "./cards.mjs";
import { byId, make } from "./dom.mjs";
import { distribution, relative, time } from "./numbers.mjs";

const BEST = 5;
const HINTS = {
  "provider-unavailable": "Choose another provider.",
  "model-unreadable": "Check the file: runoff add FILE",
  "runtime-failed": "Free dimensions are 1 in this page; with other sizes: runoff bench FILE",
  "type-unsupported": "With inputs of any type: runoff bench FILE",
};

/** Announce a measurement, and clear the last one. */
export function showStart(input, provider) {
  byId("title").textContent = `Measuring ${input.name}`;
  byId("where").textContent = `${input.model.name} with ${provider.title}`;
  byId("cards").replaceChildren();
  for (const id of ["error", "cold", "all"]) byId(id).hidden = true;
  Object.assign(byId("again"), { hidden: false, textContent: "Stop" }).dataset.stops = "yes";
}

/** Show what runs now; `done` is its share from 0 to 1, if that is known. */
export function showProgress({ step, done = null }) {
  byId("progress").hidden = false;
  if (done === null) byId("progress").removeAttribute("value");
  else byId("progress").value = done;
  byId("status").textContent = step;
}

/** Show that nothing runs any more. */
export function showIdle({ stopped }) {
  byId("progress").hidden = true;
  byId("status").textContent = "";
  if (stopped) byId("title").textContent = "Stopped";
  byId("again").textContent = "Measure again";
  delete byId("again").dataset.stops;
  byId("all").hidden = false;
}

/** Show a failure in one line; one of `provider` alone is a row of the table too. */
export function showFailure({ kind, message, hint }, input, provider) {
  const cause = message.replace(/^(model|settings|inputs)[\w.[\]]*: /, "");
  const text = [cause, HINTS[kind] ?? hint].filter(Boolean).map(sentence).join(" ");
  byId("title").textContent = "Not measured";
  Object.assign(byId("error"), { textContent: text, hidden: false });
  byId("cards").replaceChildren();
  for (const id of ["cold", "progress"]) byId(id).hidden = true;
  byId("status").textContent = "";
  if (kind === "provider-unavailable") addRow(provider.title, [input.name, sentence(cause)], ["", "", "", "", ""]);
}

/** Show the labels or outputs of the first run. */
export function showFirst({ outputs: [first], specs }, input, { labels }) {
  if (!input.image) byId("cards").replaceChildren(outputCard(first, specs));
  else byId("cards").replaceChildren(labelCard(topClasses(first[0], BEST, labels)[0], input.image));
}

/** Show the result of `input` with `provider`. */
export function showResult(result, input, provider, served) {
  const { outputs, phases, effective } = result;
  const same = result.parity.every((one) => one.same);
  const times = distribution(result.samples, served.fewest_for_p90);
  const output = input.image ? labelOf(outputs[0][0], served) : outputs[0].map(describe).join(", ");
  showFirst(result, input, served);
  byId("cards").append(same ? latencyCard(times, phases.inference) : withheldCard(), parityCard(result.parity));
  const what = input.image ? output : "Outputs";
  byId("title").textContent = same ? `${what} in ${time(times.median)}` : `${what}, but not the same output`;
  const threads = provider.row.provider === "wasm" ? `, threads in effect: ${effective.threads}` : "";
  byId("where").textContent = `${input.name}, ${input.model.name}, ${provider.title}, ONNX Runtime Web ${effective.version}${threads}`;
  const cold = showCold(byId("cold"), phases);
  addRow(provider.title, [input.name, output], [
    same ? time(times.median) : "omitted",
    same && times.p90 !== null ? time(times.p90) : same ? "too few" : "omitted",
    time(phases.inference),
    time(cold),
    result.parity.length ? relative(result.parity[0].difference) : "none",
  ]);
}

function labelOf(logits, { labels }) {
  const [[{ label, index }]] = topClasses(logits, 1, labels);
  return label ?? `class ${index}`;
}

function addRow(head, texts, numbers) {
  const cells = [...texts.map((text) => make("td", {}, text)), ...numbers.map((text) => make("td", { className: "n" }, text))];
  byId("runs").querySelector("tbody").prepend(make("tr", {}, make("th", { scope: "row" }, head), ...cells));
  byId("runs").hidden = false;
}

function sentence(text) {
  const capital = text[0].toUpperCase() + text.slice(1);
  return /[.!?]$|: runoff /.test(capital) ? capital : `${capital}.`;
}
