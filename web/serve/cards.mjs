/** The parts of a result: labels or outputs, latency, parity, cold start. */

import { make } from "./dom.mjs";
import { percent, relative, time } from "./numbers.mjs";

/** By phase of the cold start: what happens in it, and its colour in runoff's reports. */
const PHASES = {
  runtime: ["runtime: fetched, compiled, started", "--c88ccee"],
  load: ["model: fetched, loaded", "--cddcc77"],
  preprocess: ["preprocessing", "--ccc6677"],
  inference: ["first run", "--c882255"],
};

/** Return the card of the best classes of the image at `address`. */
export function labelCard(classes, address) {
  const lines = classes.map(({ index, label, confidence }) => {
    const bar = make("i", { ariaHidden: "true" });
    bar.style.width = percent(confidence);
    return make("li", {}, make("span", {}, label ?? `class ${index}`), make("b", {}, percent(confidence)), bar);
  });
  return card("Label", make("ol", { className: "classes" }, ...lines), make("img", { src: address, alt: "" }));
}

/** Return the card of the outputs of a model that takes generated inputs. */
export function outputCard(outputs, specs) {
  const inputs = specs.map(({ name, dtype, shape }) => `${name}: ${dtype} [${shape.map((side) => side ?? 1).join(", ")}]`);
  const lines = (texts) => make("ul", { className: "tensors" }, ...texts.map((text) => make("li", {}, text)));
  return card("Outputs", lines(outputs.map(describe)), make("p", { className: "what" }, "Inputs, generated:"), lines(inputs));
}

/** Return dtype and shape of a tensor as text. */
export function describe({ name, dtype, shape }) {
  return `${name}: ${dtype} [${shape.join(", ")}]`;
}

/** Return the card of the distribution of times; `first` is that of the first run. */
export function latencyCard(times, first) {
  const { count, median, p90, low, high, beyond } = times;
  const runs = `${count} ${count === 1 ? "run" : "runs"}`;
  const tail = p90 === null ? "too few for a p90" : `p90 ${time(p90)}`;
  const range = make("p", { className: "axis" }, make("span", {}, time(low)), make("span", {}, time(high)));
  const more = beyond ? [make("p", { className: "what" }, `${beyond} more beyond ${time(high)}`)] : [];
  return card(
    "Latency",
    make("p", { className: "big" }, time(median)),
    make("p", { className: "what" }, `median of ${runs}, ${tail}`),
    histogram(times, first, `Histogram of ${runs} from ${time(low)} to ${time(high)}: median ${time(median)}, ${tail}`),
    range,
    make("ul", { className: "legend" }, key("median", "median"), ...(p90 === null ? [] : [key("p90", "p90")]), firstKey(times, first)),
    ...more,
  );
}

/** Return the card in place of latencies whose outputs are wrong. */
export function withheldCard() {
  return card("Latency", make("p", { className: "who bad" }, "Omitted: the outputs differ."));
}

/** Return the card of what was compared with what. */
export function parityCard(parity) {
  if (!parity.length) {
    const what = "The others are compared with this provider. Choose one, or an example with a stored reference.";
    return card("Parity", make("p", { className: "who" }, "Nothing to compare with"), make("p", { className: "what" }, what));
  }
  const parts = parity.flatMap(({ against, limit, difference, same }) => [
    make("p", { className: "big" }, relative(difference)),
    make("p", { className: "what" }, "from: ", make("b", {}, against)),
    make("p", { className: same ? "good" : "bad" }, `${same ? "Same output" : "Different output"}: limit ${relative(limit)}`),
  ]);
  const what = make("p", { className: "costs" }, "Largest difference of an output, relative to the largest output.");
  return card("Parity", ...parts, what);
}

/** Fill the section of the cold start; return its total in milliseconds. */
export function showCold(section, phases) {
  const total = Object.values(phases).reduce((sum, ms) => sum + ms, 0);
  const parts = Object.entries(PHASES).map(([name, [words, colour]]) => ({ words, colour: `var(${colour})`, ms: phases[name] }));
  const stack = section.querySelector(".stack");
  stack.replaceChildren(...parts.map(({ colour, ms }) => styled("i", { background: colour, flexGrow: ms })));
  stack.ariaLabel = `Cold start, ${time(total)}: ${parts.map(({ words, ms }) => `${words} ${time(ms)}`).join("; ")}`;
  section.querySelector("h2").textContent = `Cold start: ${time(total)}`;
  section.querySelector(".legend").replaceChildren(
    ...parts.map(({ words, colour, ms }) => make("li", {}, styled("i", { background: colour }, "dot"), `${words} `, make("b", {}, time(ms)))),
  );
  section.hidden = false;
  return total;
}

function card(title, ...parts) {
  return make("div", { className: "card" }, make("h2", {}, title), ...parts);
}

function histogram({ bins, median, p90, low, high }, first, words) {
  const tallest = Math.max(...bins);
  const bars = bins.map((count) => styled("i", { height: `${(100 * count) / tallest}%` }));
  const at = (ms) => `${100 * Math.min(1, (ms - low) / (high - low || 1))}%`;
  const lines = [["median", median], ["p90", p90], ["first", first]].filter(([, ms]) => ms !== null);
  const marks = lines.map(([name, ms]) => styled("i", { left: at(ms) }, `mark ${name}`));
  return make("div", { className: "histogram", role: "img", ariaLabel: words }, make("div", { className: "bars" }, ...bars), ...marks);
}

function firstKey({ high }, first) {
  return key("first", `first run ${time(first)}, cold${first > high ? ", beyond the scale" : ""}`);
}

function key(name, words) {
  return make("li", {}, make("i", { className: `key ${name}` }), words);
}

function styled(tag, style, className = "") {
  const element = make(tag, { className });
  Object.assign(element.style, style);
  return element;
}
