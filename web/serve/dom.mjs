/** Elements of the page. */

/** Return a new element with `properties` and `children`. */
export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

/** Return the element with an id. */
export const byId = (id) => document.getElementById(id);
