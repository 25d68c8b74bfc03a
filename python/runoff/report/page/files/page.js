"use strict";
// Without this script every table is complete and in the order of the plan; with it, tables sort and filter.

const compare = (one, other) =>
  typeof one === "number" && typeof other === "number" ? one - other : String(one).localeCompare(String(other), undefined, { numeric: true });

function keyOf(row, place) {
  const cell = row.cells[place];
  if (cell.dataset.key === "") return null;
  const key = cell.dataset.key ?? cell.textContent;
  return Number.isFinite(Number(key)) ? Number(key) : key;
}

// What has no value stays at the end, whichever way the others are sorted.
function sort(table, heads, place) {
  const ascending = heads[place].getAttribute("aria-sort") !== "ascending";
  const body = table.tBodies[0];
  const entries = [...body.rows].map((row) => [keyOf(row, place), row]);
  entries.sort(([one], [other]) => {
    if (one === null || other === null) return (one === null) - (other === null);
    return ascending ? compare(one, other) : compare(other, one);
  });
  body.append(...entries.map(([, row]) => row));
  for (const head of heads) head.removeAttribute("aria-sort");
  heads[place].setAttribute("aria-sort", ascending ? "ascending" : "descending");
}

for (const table of document.querySelectorAll("table[data-sortable]")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, place) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    button.addEventListener("click", () => sort(table, heads, place));
    head.replaceChildren(button);
  });
}

for (const form of document.querySelectorAll("form[data-filters]")) {
  const table = document.getElementById(form.dataset.filters);
  const rows = [...table.tBodies[0].rows];
  const texts = new Map(rows.map((row) => [row, Object.values(row.dataset).join(" ").toLowerCase()]));
  const output = form.querySelector("output");
  const filter = () => {
    const words = form.elements.text.value.toLowerCase().split(/\s+/).filter(Boolean);
    const facets = [...form.querySelectorAll("select")].filter((select) => select.value);
    let shown = 0;
    for (const row of rows) {
      const fits = facets.every((select) => row.dataset[select.name] === select.value);
      row.hidden = !(fits && words.every((word) => texts.get(row).includes(word)));
      shown += row.hidden ? 0 : 1;
    }
    if (shown === 0) output.value = "no rows";
    else output.value = shown === rows.length ? `${rows.length} rows` : `${shown} of ${rows.length} rows`;
  };
  form.addEventListener("input", filter);
  form.addEventListener("reset", () => {
    table.tBodies[0].append(...rows);
    for (const head of table.tHead.rows[0].cells) head.removeAttribute("aria-sort");
    setTimeout(filter);
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
  filter();
}

// Paper has nothing to open: figures are shown, and closed again afterwards. Long tables stay on the screen.
let opened = [];
window.addEventListener("beforeprint", () => {
  opened = [...document.querySelectorAll("section > details:not([open], .data)")];
  for (const details of opened) details.open = true;
});
window.addEventListener("afterprint", () => {
  for (const details of opened) details.open = false;
});
