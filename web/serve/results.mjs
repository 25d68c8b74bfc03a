/** What is shown while something is measured, and after it. */

import { topClasses } from "../page/classes.mjs";
import { describe, labelCard, latencyCard, outputCard, parityCard, showCold, omittedCard } from "./cards.mjs";
import { byId, make } from "./dom.mjs";
import { distribution, relative, time } from "./numbers.mjs";

const BEST = 5;
const HINTS = {
  "provider-unavailable": "Choose another provider.",
  "model-unreadable": "To measure it with other runtimes: runoff bench FILE",
  "runtime-failed": "Free dimensions are 1 in this page; with other sizes: runoff bench FILE",
  "type-unsupported": "With inputs of any type: runoff bench FILE",
};

/** Show a title, with what it is about below it if that is another, and nothing else. */
export function showHead(title, where = byId("where").textContent) {
  byId("title").textContent = title;
  byId("where").textContent = where;
  byId("cards").replaceChildren();
  for (const id of ["error", "cold"]) byId(id).hidden = true;
}

/** Announce a measurement. */
export function showStart(input, provider) {
  showHead(`Measuring ${input.name}`, `${input.model.name} with ${provider.title}`);
  byId("all").hidden = true;
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
export function showIdle() {
  byId("progress").hidden = true;
  byId("status").textContent = "";
  byId("again").textContent = "Measure again";
  delete byId("again").dataset.stops;
  byId("all").hidden = byId("again").hidden;
}

/** Show a failure in one line; if the provider is the cause, also as a row of the table. */
export function showFailure({ kind, message, hint }, input, provider) {
  const cause = message.replace(/^(model|settings|inputs)[\w.[\]]*: /, "");
  showHead("Not measured");
  byId("error").textContent = [cause, HINTS[kind] ?? hint].filter(Boolean).map(sentence).join(" ");
  byId("error").hidden = false;
  if (kind === "provider-unavailable") addRow(provider, [input.name, sentence(cause)], ["", "", "", "", ""]);
}

/** Show the labels or outputs of the first run. */
export function showFirst({ outputs: [first], inputs }, input, { labels }) {
  if (!input.image) byId("cards").replaceChildren(outputCard(first, inputs));
  else byId("cards").replaceChildren(labelCard(topClasses(first[0], BEST, labels)[0], input.image));
}

/** Show the result of `input` with `provider`. */
export function showResult(result, input, provider, served) {
  const { outputs, phases, effective } = result;
  const same = result.parity.every((one) => one.same);
  const times = distribution(result.samples, served.fewest_for_p90);
  const output = input.image ? labelOf(outputs[0][0], served) : outputs[0].map(describe).join(", ");
  showFirst(result, input, served);
  byId("cards").append(same ? latencyCard(times, phases.inference) : omittedCard(), parityCard(result.parity));
  const what = input.image ? output : "One inference";
  byId("title").textContent = same ? `${what} in ${time(times.median)}` : `${what}, but not the same output`;
  const device = provider.row.provider === "wasm" ? `threads in effect: ${effective.threads}` : provider.detail;
  const names = new Set([input.name, input.model.name, provider.title, device]);
  byId("where").textContent = [...names, `ONNX Runtime Web ${effective.version}`].join(", ");
  const cold = showCold(byId("cold"), phases);
  const [parity] = result.parity;
  addRow(provider, [input.name, output], [
    same ? time(times.median) : "omitted",
    same ? (times.p90 === null ? "too few" : time(times.p90)) : "omitted",
    time(phases.inference),
    time(cold),
    ...(parity ? [relative(parity.difference), `from ${parity.against}`] : ["none"]),
  ]);
}

function labelOf(logits, { labels }) {
  const [[{ label, index }]] = topClasses(logits, 1, labels);
  return label ?? `class ${index}`;
}

function addRow({ title, detail }, texts, [median, p90, first, cold, difference, against = ""]) {
  const head = make("th", { scope: "row" }, title, make("small", {}, detail));
  const cells = [...texts.map((text) => make("td", {}, text)), ...[median, p90, first, cold].map(number)];
  const last = make("td.n", {}, difference, make("small", {}, against));
  byId("runs").querySelector("tbody").prepend(make("tr", {}, head, ...cells, last));
  byId("runs").hidden = false;
}

function number(text) {
  return make("td.n", {}, text);
}

/** Return a message as a sentence; the name of a file at its begin stays as it is. */
function sentence(text) {
  const capital = /^[a-z]+ /.test(text) ? text[0].toUpperCase() + text.slice(1) : text;
  return /[.!?]$|: runoff /.test(capital) ? capital : `${capital}.`;
}
