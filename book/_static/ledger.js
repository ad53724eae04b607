// A ledger's rows are sorted by a click on a column's head, and filtered by section and verdict.
for (const table of document.querySelectorAll("table.ledger")) {
  const body = table.tBodies[0];
  const text = (row, column) => row.cells[column].textContent.trim();
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = document.createElement("button");
    button.textContent = head.textContent.trim();
    button.title = "Sort by this column";
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const down = head.ariaSort === "ascending";
      for (const other of head.parentNode.cells) other.ariaSort = "none";
      head.ariaSort = down ? "descending" : "ascending";
      const order = (a, b) => text(a, column).localeCompare(text(b, column), "en", { numeric: true });
      body.append(...[...body.rows].sort((a, b) => (down ? order(b, a) : order(a, b))));
    });
  });

  const bar = document.createElement("p");
  bar.className = "ledger-filters";
  const state = document.createElement("span");
  state.role = "status";
  const filters = [
    ["section", (row) => (text(row, 0).match(/sections? ([\d., ]+):/)?.[1] ?? "").split(", ").map((s) => s.trim())],
    ["verdict", (row) => [row.cells[1].querySelector("strong").textContent]],
  ].map(([name, values]) => {
    const select = document.createElement("select");
    const options = [...new Set([...body.rows].flatMap(values))].filter(Boolean);
    options.sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
    select.append(new Option("all", ""), ...options.map((value) => new Option(value)));
    select.addEventListener("change", show);
    const label = document.createElement("label");
    label.append(`${name} `, select);
    bar.append(label, " ");
    return { select, values };
  });
  function show() {
    for (const row of body.rows) {
      row.hidden = filters.some(({ select, values }) => select.value && !values(row).includes(select.value));
    }
    state.textContent = `${[...body.rows].filter((row) => !row.hidden).length} of ${body.rows.length} claims`;
  }
  bar.append(state);
  (table.closest(".pst-scrollable-table-container") ?? table).before(bar);
  show();
}
