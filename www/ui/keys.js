// Single-key shortcuts. They can be switched off, and are ignored while the focused element
// uses the key itself.

import { byId } from "./dom.js";

const KEY = "mixwell-keys";

/** @param {Record<string, () => void>} actions by the value of KeyboardEvent.key */
export function setUpKeys(actions) {
  const help = byId("help", HTMLDialogElement);
  const box = byId("keys-on", HTMLInputElement);
  box.checked = stored() !== "off";
  box.addEventListener("change", () => {
    try {
      localStorage.setItem(KEY, box.checked ? "on" : "off");
    } catch {
      // Storage may be denied; the choice then lasts for this visit.
    }
  });
  byId("help-open", HTMLButtonElement).addEventListener("click", () => help.showModal());
  // A click on the backdrop targets the dialog itself, a click inside targets its content.
  help.addEventListener("click", (event) => {
    if (event.target === help) help.close();
  });

  document.addEventListener("keydown", (event) => {
    if (!box.checked || help.open || event.defaultPrevented) return;
    if (event.ctrlKey || event.metaKey || event.altKey || isTaken(event)) return;
    const action = event.key === "?" ? () => help.showModal() : actions[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  });
}

/** @param {KeyboardEvent} event */
function isTaken({ key, target }) {
  if (!(target instanceof Element)) return false;
  if (target.closest("input:not([type=checkbox]), select, textarea, [contenteditable]")) return true;
  // Space presses the focused button and arrows scroll the focused table, as usual.
  if (key === " ") return target.closest("button, a, summary, input") !== null;
  return key.startsWith("Arrow") && target.closest(".scroll, [role=listbox]") !== null;
}

function stored() {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null;
  }
}
