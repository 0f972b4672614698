"use strict";
// Rows of a tree stand below each other, parents before children: what belongs to a row is what follows deeper.
const trees = [...document.querySelectorAll(".tree")].map((tree) => [...tree.children].map((row) => ({
  row,
  depth: Number(row.dataset.depth),
  fold: row.querySelector(".fold"),
})));
const total = trees.reduce((sum, rows) => sum + rows.length, 0);
const input = document.querySelector("input");
const output = document.querySelector("output");

const folded = (each) => each.fold !== null && each.fold.getAttribute("aria-expanded") === "false";

function setFolded(each, wanted) {
  if (each.fold !== null) each.fold.setAttribute("aria-expanded", String(!wanted));
}

function showUnfolded() {
  output.textContent = "";
  for (const rows of trees) {
    let hiddenBelow = Infinity;
    for (const each of rows) {
      if (each.depth <= hiddenBelow) hiddenBelow = Infinity;
      each.row.hidden = each.depth > hiddenBelow;
      if (!each.row.hidden && folded(each)) hiddenBelow = each.depth;
    }
  }
}

function textOf(each) {
  if (each.text === undefined) {
    const parts = each.row.querySelectorAll(".what, .pid, .pill");
    each.text = [...parts].map((part) => part.textContent).join(" ").toLowerCase();
  }
  return each.text;
}

// Shows what has the text, and the processes above it, folded or not.
function showFound(wanted) {
  let found = 0;
  for (const rows of trees) {
    const above = [];
    for (const each of rows) {
      while (above.length > 0 && above[above.length - 1].depth >= each.depth) above.pop();
      const hit = textOf(each).includes(wanted);
      each.row.hidden = !hit;
      if (hit) {
        found += 1;
        for (const parent of above) parent.row.hidden = false;
      }
      above.push(each);
    }
  }
  output.textContent = `${found} of ${total} processes`;
}

function show() {
  const wanted = input.value.trim().toLowerCase();
  if (wanted === "") showUnfolded();
  else showFound(wanted);
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button === null) return;
  if (button.matches(".fold")) {
    button.setAttribute("aria-expanded", String(button.getAttribute("aria-expanded") === "false"));
  } else {
    for (const rows of trees) for (const each of rows) setFolded(each, button.matches(".fold-all"));
  }
  // What is folded or unfolded is to be seen, whatever was searched for.
  input.value = "";
  show();
});
input.addEventListener("input", show);
// Browsers keep what was typed when a page is loaded again.
show();
