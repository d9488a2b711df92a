// Before a download: large models need the visitor's consent. During it: a card shows the progress.

import { askToDownload, showDownload, showWaiting } from "../ui/cards.js";

/** Larger downloads need consent; with data saving on, all do. */
const UNASKED_BYTES = 16 * 2 ** 20;

/**
 * @param {string} title of the model
 * @param {number} bytes
 * @returns {Promise<void>} resolves at once if no consent is needed, else when the visitor agrees
 */
export async function consent(title, bytes) {
  const saving = /** @type {{ connection?: { saveData?: boolean } }} */ (navigator).connection?.saveData === true;
  if (!saving && bytes <= UNASKED_BYTES) return;
  const why = saving ? "Your browser is set to save data, so the page asks first." : "This model is large, so the page asks first.";
  await askToDownload(title, bytes, `${why} The download is checked against its SHA-256 and kept for the next visit.`);
}

/**
 * The card during the download.
 * @param {string} title
 * @param {number} bytes
 * @param {boolean} stored whether all files are stored already
 * @param {() => void} abort
 * @returns {(file: string, loaded: number, total: number) => void} progress callback
 */
export function showIncoming(title, bytes, stored, abort) {
  if (!stored) return showDownload(title, bytes, abort);
  showWaiting(`Opening ${title}`, "The stored copy is checked against its SHA-256 first.");
  return () => {};
}
