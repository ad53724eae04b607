// What every page needs: the switch between reading and studying, boxes that scroll sideways, and paper.
const CODE = "trainlab-code"; // what the switch is remembered under
const folds = [...document.querySelectorAll("details.hide")];
const fold = (open) => folds.forEach((part) => { part.open = open; });
const remembered = () => { try { return localStorage.getItem(CODE); } catch { return null; } };

const codeSwitch = document.querySelector(".code-switch");
if (codeSwitch) {
  const show = (all) => codeSwitch.setAttribute("aria-pressed", all);
  if (remembered() === "study") fold(true), show(true);
  codeSwitch.addEventListener("click", () => {
    const all = codeSwitch.getAttribute("aria-pressed") !== "true";
    fold(all);
    show(all);
    try { localStorage.setItem(CODE, all ? "study" : "read"); } catch { /* a reader who allows no memory */ }
  });
}

// A browser runs Python on pages from a server only.
if (location.protocol === "file:") {
  for (const place of document.querySelectorAll(".run-here a")) {
    place.parentElement.textContent = "Opened as a file, this chapter cannot run here. On the website, or from a server of your own, it can; so it does after \u201cmake lab\u201d.";
  }
}

// A box that is wider than the screen can be reached by keyboard, and fades where there is more of it.
function mark(box) {
  const wide = box.scrollWidth - box.clientWidth > 1;
  if (wide) box.tabIndex = 0;
  else if (box.classList.contains("wide")) box.removeAttribute("tabindex");
  box.classList.toggle("wide", wide);
  box.classList.toggle("more-right", wide && box.scrollLeft + box.clientWidth < box.scrollWidth - 1);
  box.classList.toggle("more-left", wide && box.scrollLeft > 1);
}
const sizes = new ResizeObserver((changes) => changes.forEach(({ target }) => mark(target)));
for (const box of document.querySelectorAll(".formula, span.math, div.highlight pre, .pst-scrollable-table-container, .cell_output > .output, .chapter-map, .picture")) {
  sizes.observe(box);
  addEventListener("resize", () => requestAnimationFrame(() => mark(box)));
  box.addEventListener("scroll", () => mark(box), { passive: true });
}

// Paper is white, and its reader cannot unfold anything: long code stays folded in.
let before = null;
addEventListener("beforeprint", () => {
  before = { theme: document.documentElement.dataset.theme, open: folds.map((part) => part.open) };
  document.documentElement.dataset.theme = "light";
  fold(false);
});
addEventListener("afterprint", () => {
  if (!before) return;
  document.documentElement.dataset.theme = before.theme;
  folds.forEach((part, place) => { part.open = before.open[place]; });
  before = null;
});
