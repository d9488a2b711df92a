// Image input by file dialog, drop and paste.

import { Failure } from "../engine/failure.js";

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
    // Choosing the same file again must trigger another change event.
    input.value = "";
    if (file) take(file);
  });
}

/**
 * The file of a drop or paste: an image if there is one, else any file, so that it can be refused by name.
 * @param {DataTransfer | null} data
 * @returns {File | null}
 */
export function fileOf(data) {
  const files = [...(data?.files ?? [])];
  return files.find(({ type }) => type.startsWith("image/")) ?? files[0] ?? null;
}

/**
 * Drops and pastes anywhere on the page.
 * @param {(file: File, dropped: boolean, target: EventTarget | null) => boolean} take whether the file was accepted
 */
export function listenForImages(take) {
  /** @param {DataTransfer | null} data @param {boolean} dropped @param {EventTarget | null} target */
  const takeIn = (data, dropped, target) => {
    const file = fileOf(data);
    return file !== null && take(file, dropped, target);
  };
  const root = document.documentElement;
  document.addEventListener("paste", (event) => {
    if (takeIn(event.clipboardData, false, event.target)) event.preventDefault();
  });
  for (const type of /** @type {const} */ (["dragenter", "dragover"])) {
    document.addEventListener(type, (event) => {
      if (!event.dataTransfer?.types.includes("Files")) return;
      event.preventDefault();
      root.toggleAttribute("data-dragging", true);
    });
  }
  document.addEventListener("dragleave", ({ relatedTarget }) => {
    if (relatedTarget === null) root.removeAttribute("data-dragging");
  });
  document.addEventListener("drop", (event) => {
    root.removeAttribute("data-dragging");
    // The browser must not navigate to the dropped file.
    event.preventDefault();
    takeIn(event.dataTransfer, true, event.target);
  });
}

/** The clipboard's image, after the browser's permission prompt. @returns {Promise<Blob>} */
export async function clipboardImage() {
  /** @type {ClipboardItem[]} */
  let items;
  try {
    items = await navigator.clipboard.read();
  } catch {
    throw new Failure("bad-image", "The browser did not allow the page to read the clipboard. Press Ctrl V (⌘ V on a Mac) instead, which needs no permission.");
  }
  for (const item of items) {
    const type = item.types.find((name) => name.startsWith("image/"));
    if (type) return item.getType(type);
  }
  const found = items.flatMap(({ types }) => types);
  throw new Failure("bad-image", `There is no image in the clipboard: expected one image, found ${found.length === 0 ? "nothing" : found.join(", ")}. Copy the image itself, not its file or address, and paste again.`);
}
