// The ways an image comes in: a file dialog, a drop, a paste.

import { Failure } from "./failure.js";

/**
 * A button with its hidden file field.
 * @param {HTMLButtonElement} button
 * @param {HTMLInputElement} input
 * @param {(file: File) => void} take
 */
export function fileButton(button, input, take) {
  button.addEventListener("click", () => input.click());
  input.addEventListener("change", () => {
    const file = input.files?.[0];
    // The same file again should count again.
    input.value = "";
    if (file) take(file);
  });
}

/**
 * The file of a drop or a paste: an image if there is one, else whatever there is, so that it can be refused by name.
 * @param {DataTransfer | null} data
 * @returns {File | null}
 */
export function fileOf(data) {
  const files = [...(data?.files ?? [])];
  return files.find(({ type }) => type.startsWith("image/")) ?? files[0] ?? null;
}

/** What the clipboard holds, after the browser has asked. @returns {Promise<Blob>} */
export async function clipboardImage() {
  /** @type {ClipboardItem[]} */
  let items;
  try {
    items = await navigator.clipboard.read();
  } catch {
    throw new Failure("bad-image", "The browser did not let the page read the clipboard. Press Ctrl V (on a Mac ⌘ V) instead: that needs no permission.");
  }
  for (const item of items) {
    const type = item.types.find((name) => name.startsWith("image/"));
    if (type) return item.getType(type);
  }
  const found = items.flatMap(({ types }) => types);
  throw new Failure("bad-image", `There is no image in the clipboard: expected was one, found ${found.length === 0 ? "nothing" : found.join(", ")}. Copy an image, not its file or address, and paste again.`);
}
