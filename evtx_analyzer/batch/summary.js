"use strict";
(() => {
  const table = document.getElementById("bundles");
  const rows = [...table.tBodies[0].rows];
  const controls = document.getElementById("controls");
  const text = document.getElementById("text");
  const shown = document.getElementById("shown");
  const selects = [...controls.querySelectorAll("select")];
  const filter = () => {
    const words = text.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const row of rows) {
      const content = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => content.includes(word)) ||
        selects.some((select) => select.value && row.dataset[select.name] !== select.value);
      if (!row.hidden) count += 1;
    }
    shown.textContent = `${count} / ${rows.length}`;
  };
  const value = (row, column) => row.cells[column].dataset.value ?? row.cells[column].textContent.trim();
  const sort = (head, column) => {
    const down = head.getAttribute("aria-sort") === "ascending";
    for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const by = (a, b) => value(a, column).localeCompare(value(b, column), undefined, { numeric: true });
    table.tBodies[0].append(...rows.sort((a, b) => (down ? by(b, a) : by(a, b))));
  };
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    button.addEventListener("click", () => sort(head, column));
    head.append(button);
  });
  for (const select of selects) {
    for (const key of [...new Set(rows.map((row) => row.dataset[select.name]))].filter(Boolean).sort()) {
      const label = rows.find((row) => row.dataset[select.name] === key).dataset[`${select.name}Label`] ?? key;
      select.add(new Option(label, key));
    }
    select.parentNode.hidden = select.options.length < 3;
    select.addEventListener("change", filter);
  }
  text.addEventListener("input", filter);
  controls.hidden = false;
  filter();
})();
