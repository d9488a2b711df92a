// The Share dialog: a link, an <iframe>, and which panels to leave out.

import { announce } from "../ui/cards.js";
import { byId, copyWith, make } from "../ui/dom.js";
import { integer } from "../ui/format.js";
import { address, PANELS } from "./url.js";

/** @import { Panel, PlayState } from "./url.js" */

export class ShareDialog {
  #dialog = byId("share", HTMLDialogElement);
  #at = byId("share-at", HTMLInputElement);
  #link = byId("share-link", HTMLInputElement);
  #embed = byId("share-embed", HTMLTextAreaElement);
  #panels = byId("share-panels", HTMLFieldSetElement);
  /** @type {{ state: PlayState, clock: number }} */
  #held = { state: /** @type {PlayState} */ ({}), clock: 0 };

  /** @param {() => { state: PlayState, clock: number }} now */
  constructor(now) {
    for (const [panel, label] of Object.entries(PANELS)) {
      this.#panels.append(make("label", { class: "check" }, make("input", { type: "checkbox", value: panel }), make("span", {}, label)));
    }
    byId("share-open", HTMLButtonElement).addEventListener("click", () => {
      this.#held = now();
      const { state, clock } = this.#held;
      this.#at.checked = false;
      byId("share-at-text", HTMLSpanElement).textContent = `Begin at this moment of the run, ${integer(clock)} ∇E`;
      for (const box of this.#panels.querySelectorAll("input")) box.checked = state.hide.includes(/** @type {Panel} */ (box.value));
      this.#write();
      this.#dialog.showModal();
    });
    this.#dialog.addEventListener("change", () => this.#write());
    this.#dialog.addEventListener("click", (event) => {
      if (event.target === this.#dialog) this.#dialog.close();
    });
    for (const field of [this.#link, this.#embed]) field.addEventListener("focus", () => field.select());
    const copy = byId("share-copy", HTMLButtonElement);
    copy.addEventListener("click", () => copyWith(copy, this.#link.value, announce));
    const copyEmbed = byId("share-copy-embed", HTMLButtonElement);
    copyEmbed.addEventListener("click", () => copyWith(copyEmbed, this.#embed.value, announce));
  }

  #write() {
    const { state, clock } = this.#held;
    const hide = Array.from(this.#panels.querySelectorAll("input:checked"), (box) => /** @type {Panel} */ (/** @type {HTMLInputElement} */ (box).value));
    const shared = { ...state, hide, at: this.#at.checked ? Math.ceil(100 * clock) / 100 : null, embed: false };
    const page = `${location.origin}${location.pathname}`;
    this.#link.value = page + address.format(shared);
    const source = `${page}${address.format({ ...shared, embed: true })}`.replaceAll("&", "&amp;");
    this.#embed.value = `<iframe src="${source}" title="mixwell playground" width="100%" height="${state.config.sides.length > 1 ? 900 : 760}" style="border: 0"></iframe>`;
  }
}
