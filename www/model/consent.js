// Before a model's files come in: large downloads are asked for, and the card shows what arrives.

import { askToDownload, showDownload, showWaiting } from "../ui/cards.js";

/** Larger downloads, and all downloads of visitors who save data, are asked for first. */
const UNASKED_BYTES = 16 * 2 ** 20;

/**
 * @param {string} title of the model
 * @param {number} bytes
 * @returns {Promise<void>} when nothing had to be asked, or the visitor agrees
 */
export async function consent(title, bytes) {
  const saving = /** @type {{ connection?: { saveData?: boolean } }} */ (navigator).connection?.saveData === true;
  if (!saving && bytes <= UNASKED_BYTES) return;
  const why = saving ? "Your browser is set to save data, so the page asks first." : "This model is larger than the page fetches unasked.";
  await askToDownload(title, bytes, `${why} It is checked against its SHA-256 and kept for the next visit.`);
}

/**
 * The card while the files come in.
 * @param {string} title
 * @param {number} bytes
 * @param {boolean} stored whether nothing has to be downloaded
 * @param {() => void} abort
 * @returns {(file: string, loaded: number, total: number) => void} takes the progress
 */
export function showIncoming(title, bytes, stored, abort) {
  if (!stored) return showDownload(title, bytes, abort);
  showWaiting(`Opening ${title}`, "The stored copy is checked against its SHA-256 first.");
  return () => {};
}
