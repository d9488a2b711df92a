// Several rooms on one page, such as Generate, Compose and Score. The address names the visible one
// first, and links between them do not reload the page.

import { announce, dismiss } from "./cards.js";
import { byId, setText } from "./dom.js";

/**
 * @template {string} Part
 */
export class Parts {
  /** @type {Part | null} */
  #shown = null;

  /**
   * @param {object} room
   * @param {Record<Part, { title: string, lede: string }>} room.texts
   * @param {string} room.links of a nav, whose links have a data-room each
   * @param {(title: string) => string} room.title of the document
   * @param {() => { room: Part }} room.state
   * @param {(part: Part) => void} room.show puts the part into the state
   * @param {(part: Part) => string} room.format the address with that part
   * @param {(part: Part) => void} room.shown it is on the screen; the others may pause
   */
  constructor(room) {
    this.room = room;
    for (const link of document.querySelectorAll(`${room.links} a[data-room]`)) {
      link.addEventListener("click", (event) => {
        // Within the page: no reload, and the rest of the address is kept.
        if (!(event instanceof MouseEvent) || event.ctrlKey || event.metaKey || event.shiftKey || !(link instanceof HTMLElement)) return;
        event.preventDefault();
        this.goTo(/** @type {Part} */ (link.dataset.room));
      });
    }
  }

  /** Shows the part named in the state, if another is on the screen. */
  show() {
    const { room } = this.room.state();
    if (room === this.#shown) return;
    this.#shown = room;
    document.documentElement.dataset.room = room;
    for (const name of Object.keys(this.room.texts)) byId(`room-${name}`, HTMLElement).hidden = name !== room;
    for (const link of document.querySelectorAll(`${this.room.links} a`)) {
      if (link instanceof HTMLAnchorElement && link.dataset.room === room) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    const { title, lede } = this.room.texts[room];
    setText(byId("title", HTMLHeadingElement), title);
    setText(byId("lede", HTMLParagraphElement), lede);
    document.title = `mixwell – ${this.room.title(title)}`;
    this.room.shown(room);
  }

  /** @param {Part} part */
  goTo(part) {
    if (part === this.room.state().room) return;
    // A new history entry, so that Back returns to the previous part.
    history.pushState(null, "", this.room.format(part));
    this.room.show(part);
    scrollTo({ top: 0 });
    announce(this.room.texts[part].title);
  }

  /**
   * Follows an address that names only a part.
   * @param {Part | null} part
   * @returns {boolean} whether it did
   */
  follow(part) {
    if (!part) return false;
    dismiss("address");
    this.room.show(part);
    scrollTo({ top: 0 });
    return true;
  }
}
