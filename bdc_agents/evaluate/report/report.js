"use strict";
const find = document.getElementById("find");
const differ = document.getElementById("differ");
const rows = [...document.querySelectorAll("#problems tbody tr")];
function show() {
  const wanted = find.value.trim().toLowerCase();
  let shown = 0;
  for (const row of rows) {
    const fits = row.textContent.toLowerCase().includes(wanted) && (!differ.checked || row.dataset.differ === "1");
    row.hidden = !fits;
    shown += fits;
  }
  document.getElementById("shown").textContent = `${shown} of ${rows.length} problems`;
}
if (find) {
  find.addEventListener("input", show);
  differ.addEventListener("change", show);
  show();
}
