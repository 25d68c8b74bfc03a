/** The parts of a result: labels or outputs, latency, parity, cold start. */

import { make } from "./dom.mjs";
import { percent, relative, time } from "./numbers.mjs";

/** By phase of the cold start: what happens in it, and its colour in runoff's reports. */
const PHASES = {
  runtime: ["runtime: fetched, compiled, started", "var(--c88ccee)"],
  load: ["model: fetched, loaded", "var(--cddcc77)"],
  preprocess: ["input: read, prepared", "var(--ccc6677)"],
  inference: ["first run", "var(--c882255)"],
};

/** Return the card of the best classes of the image at `address`. */
export function labelCard(classes, address) {
  const lines = classes.map(({ index, label, confidence }) => {
    const bar = styled("i", { width: percent(confidence) });
    return make("li", {}, make("span", {}, label ?? `class ${index}`), make("b", {}, percent(confidence)), bar);
  });
  return card("Label", make("ol.classes", {}, ...lines), make("img", { src: address, alt: "" }));
}

/** Return the card of the outputs of a model for its inputs. */
export function outputCard(outputs, inputs) {
  const list = (tensors) => make("ul.tensors", {}, ...tensors.map((tensor) => make("li", {}, describe(tensor))));
  return card("Outputs", list(outputs), words("what", "Inputs"), list(inputs));
}

/** Return name, dtype and shape of a tensor as text. */
export function describe({ name, dtype, shape }) {
  return `${name}: ${dtype} [${shape.join(", ")}]`;
}

/** Return the card of the distribution of times; `first` is that of the first run. */
export function latencyCard(times, first) {
  const { count, median, p90, low, high, beyond } = times;
  const runs = `${count} ${count === 1 ? "run" : "runs"}`;
  const tail = p90 === null ? "too few for a p90" : `p90 ${time(p90)}`;
  const outside = first > high ? ", beyond the scale" : "";
  return card(
    "Latency",
    words("big", time(median)),
    words("what", `median of ${runs}, ${tail}`),
    histogram(times, first, `${runs} from ${time(low)} to ${time(high)}: median ${time(median)}, ${tail}`),
    words("axis", make("span", {}, time(low)), make("span", {}, time(high))),
    make(
      "ul.legend",
      {},
      key("median", "median"),
      ...(p90 === null ? [] : [key("p90", "p90")]),
      key("first", `first run ${time(first)}, cold${outside}`),
    ),
    ...(beyond ? [words("what", `${beyond} more beyond ${time(high)}`)] : []),
  );
}

/** Return the card in place of latencies whose outputs are wrong. */
export function omittedCard() {
  return card("Latency", words("who bad", "Omitted: the outputs differ."));
}

/** Return the card of what was compared with what. */
export function parityCard(parity) {
  if (!parity.length) {
    const what = "The others are compared with this provider. Choose one, or an example with a stored reference.";
    return card("Parity", words("who", "Nothing to compare with"), words("what", what));
  }
  const parts = parity.flatMap(({ against, limit, difference, same }) => [
    words("big", relative(difference)),
    words("what", "difference from ", make("b", {}, against)),
    words(same ? "good" : "bad", `${same ? "Same" : "Different"} output: limit ${relative(limit)}`),
  ]);
  return card("Parity", ...parts, words("costs", "The largest difference, relative to the largest output."));
}

/** Fill the section of the cold start; return its total in milliseconds. */
export function showCold(section, phases) {
  const total = Object.values(phases).reduce((sum, ms) => sum + ms, 0);
  const parts = Object.entries(PHASES).map(([name, [what, background]]) => ({ what, background, ms: phases[name] }));
  const [stack, legend] = [section.querySelector(".stack"), section.querySelector(".legend")];
  stack.replaceChildren(...parts.map(({ background, ms }) => styled("i", { background, flexGrow: ms })));
  stack.ariaLabel = parts.map(({ what, ms }) => `${what} ${time(ms)}`).join("; ");
  const lines = parts.map(({ what, background, ms }) => {
    return make("li", {}, styled("i.dot", { background }), `${what} `, make("b", {}, time(ms)));
  });
  legend.replaceChildren(...lines);
  section.querySelector("h2").textContent = `Cold start: ${time(total)}`;
  section.hidden = false;
  return total;
}

function histogram({ bins, median, p90, low, high }, first, ariaLabel) {
  const tallest = Math.max(...bins);
  const bars = bins.map((count) => styled("i", { height: percent(count / tallest) }));
  const at = (ms) => percent(Math.min(1, Math.max(0, (ms - low) / (high - low || 1))));
  const marks = Object.entries({ median, p90, first }).filter(([, ms]) => ms !== null);
  const lines = marks.map(([name, ms]) => styled(`i.mark ${name}`, { left: at(ms) }));
  return make("div.histogram", { role: "img", ariaLabel }, make("div.bars", {}, ...bars), ...lines);
}

function card(title, ...parts) {
  return make("div.card", {}, make("h2", {}, title), ...parts);
}

function words(kind, ...parts) {
  return make(`p.${kind}`, {}, ...parts);
}

function key(name, text) {
  return make("li", {}, make(`i.key ${name}`), text);
}

function styled(name, style) {
  const element = make(name);
  Object.assign(element.style, style);
  return element;
}
