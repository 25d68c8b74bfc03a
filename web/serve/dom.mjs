/** Elements of the page. */

/** Return a new element with `properties` and `children`; `name` is that of the tag, and a class as in `p.what`. */
export function make(name, properties = {}, ...children) {
  const [tag, className = ""] = name.split(".");
  const element = Object.assign(document.createElement(tag), { className, ...properties });
  element.append(...children);
  return element;
}

/** Return the element with an id. */
export const byId = (id) => document.getElementById(id);
