"use strict";
const value = (cell) => cell.dataset.v ?? cell.textContent;
const number = (text) => (text === "" || isNaN(text) ? -Infinity : Number(text));
for (const table of document.querySelectorAll("table")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    head.firstElementChild.addEventListener("click", () => {
      const isNumber = head.classList.contains("n");
      const was = head.getAttribute("aria-sort");
      const isDown = was ? was === "ascending" : isNumber;
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", isDown ? "descending" : "ascending");
      const body = table.tBodies[0];
      const compare = (a, b) => {
        const [x, y] = [value(a.cells[column]), value(b.cells[column])];
        if (!isNumber) return x.localeCompare(y);
        const [p, q] = [number(x), number(y)];
        return p === q ? 0 : p - q;
      };
      const rows = [...body.rows].sort((a, b) => (isDown ? compare(b, a) : compare(a, b)));
      body.append(...rows);
    });
  });
}
const quoted = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
for (const button of document.querySelectorAll("button.csv")) {
  button.addEventListener("click", () => {
    const table = button.closest(".table").querySelector("table");
    const names = [...table.tHead.querySelectorAll("button")].map((b) => b.dataset.name);
    const rows = [...table.tBodies[0].rows].map((row) => [...row.cells].map(value));
    const text = [names, ...rows].map((row) => row.map(quoted).join(",") + "\n").join("");
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
    link.download = button.dataset.file;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });
}
