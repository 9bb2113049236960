
"use strict";
(() => {
  const THEMES = ["system", "light", "dark"];
  const stored = () => { try { return localStorage.getItem("theme"); } catch { return null; } };
  const keep = (theme) => { try { localStorage.setItem("theme", theme); } catch { /* not kept */ } };
  let theme = THEMES.includes(stored()) ? stored() : "system";
  const show = () => {
    if (theme === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
  };
  show(); // before anything is painted

  function themeButton() {
    const button = document.createElement("button");
    button.className = "theme";
    const name = () => { button.textContent = `Colours: ${theme}`; };
    button.addEventListener("click", () => {
      theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
      keep(theme);
      show();
      name();
    });
    name();
    document.querySelector("header").prepend(button);
  }

  // A number with "−" for minus and commas between thousands; NaN for text and for what is missing.
  const number = (text) => Number.parseFloat(text.trim().replace("−", "-").replaceAll(",", ""));

  function sortable(table) {
    const heads = [...table.tHead.rows[table.tHead.rows.length - 1].cells];
    const original = [...table.tBodies].map((body) => [body, [...body.rows]]);
    const rows = original.flatMap(([, own]) => own).filter((row) => !row.classList.contains("group"));
    const restore = () => original.forEach(([body, own]) => body.append(...own));
    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const texts = new Map(rows.map((row) => [row, row.cells[column].textContent.trim()]));
        const numeric = !head.classList.contains("text"); // "3 experts" and "0a1b" are texts
        const order = numeric ? ["descending", "ascending"] : ["ascending", "descending"];
        const next = order[order.indexOf(head.getAttribute("aria-sort")) + 1];
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        table.classList.toggle("sorted", next !== undefined);
        restore();
        if (next === undefined) return; // the third time: as it was
        head.setAttribute("aria-sort", next);
        const sign = next === "ascending" ? 1 : -1;
        const missing = (text) => (numeric ? Number.isNaN(number(text)) : text === "");
        const sorted = [...rows].sort((a, b) => {
          const [s, t] = [texts.get(a), texts.get(b)];
          if (missing(s) || missing(t)) return missing(s) - missing(t); // always last
          return sign * (numeric ? number(s) - number(t) : s.localeCompare(t, "en", { numeric: true }));
        });
        table.tBodies[0].append(...sorted);
      });
    });
  }

  function filter() {
    const box = document.querySelector(".filter");
    if (!box) return;
    box.hidden = false;
    const groups = [...document.querySelectorAll("#runs .list > details, #runs tr[id]")];
    const texts = groups.map((group) => group.textContent.toLowerCase());
    const input = box.querySelector("input");
    const status = box.querySelector("[role=status]");
    input.addEventListener("input", () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      groups.forEach((group, i) => {
        group.hidden = !words.every((word) => texts[i].includes(word));
        shown += !group.hidden;
      });
      status.textContent = words.length ? `${shown} of ${groups.length}` : "";
    });
  }

  // A link to a fold opens it.
  function open() {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target) return;
    target.hidden = false;
    for (let fold = target.closest("details"); fold; fold = fold.parentElement.closest("details")) {
      fold.open = true;
    }
    const own = target.querySelector(":scope > details.fold");
    if (own) own.open = true;
    target.scrollIntoView();
    target.querySelector(":scope > summary")?.focus({ preventScroll: true });
  }

  document.addEventListener("DOMContentLoaded", () => {
    themeButton();
    document.querySelectorAll("table.sortable").forEach(sortable);
    filter();
    open();
    addEventListener("hashchange", open);
  });
})();
