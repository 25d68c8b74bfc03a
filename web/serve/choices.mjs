/** What can be chosen: examples and providers. */

import { byId, make } from "./dom.mjs";

/** Offer the examples of the served model; `choose` is called with one. */
export function showExamples(examples, choose) {
  const place = byId("examples");
  const pictures = examples.some(({ image }) => image);
  place.hidden = !examples.length;
  place.querySelector("legend").textContent = pictures ? "Example photos" : "Examples";
  place.querySelector("div").append(
    ...examples.map((input) => {
      const shown = input.image ? make("img", { src: input.image, alt: input.name }) : input.name;
      const button = make("button", { type: "button", title: input.name, ariaPressed: "false", input }, shown);
      button.addEventListener("click", () => choose(input));
      return button;
    }),
  );
}

/** List the providers, those that are missing with the reason; `choose` is called with one. */
export function showProviders(providers, choose) {
  const lines = providers.map((provider, place) => {
    const { id, title, detail, missing } = provider;
    const state = { disabled: Boolean(missing), checked: place === 0 };
    const radio = make("input", { type: "radio", name: "provider", value: id, ...state });
    radio.addEventListener("change", () => choose(provider));
    const words = make("small", {}, missing ? `Unavailable: ${missing}` : detail);
    return make(missing ? "label.missing" : "label", {}, radio, make("span", {}, title, words));
  });
  byId("providers").append(...lines);
}
