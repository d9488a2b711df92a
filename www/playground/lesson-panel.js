// The lesson beside the run: its text and navigation. The presets are in lessons.js.

import { byId, setText } from "../ui/dom.js";
import { LESSONS } from "./lessons.js";
import { presetState } from "./url.js";

/** @import { Conductor } from "./conductor.js" */
/** @import { Room } from "./room.js" */
/** @import { PlayState } from "./url.js" */

export class LessonPanel {
  /** @type {number | null} */
  #shown = null;

  /**
   * @param {Room} room
   * @param {Conductor} conductor
   * @param {object} listeners
   * @param {(state: PlayState) => void} listeners.setState
   * @param {() => void} listeners.onLearn
   */
  constructor(room, conductor, { setState, onLearn }) {
    this.room = room;
    this.conductor = conductor;
    this.setState = setState;
    byId("lesson-previous", HTMLButtonElement).addEventListener("click", () => void this.open((room.state.lesson ?? 2) - 1));
    byId("lesson-next", HTMLButtonElement).addEventListener("click", () => void this.open((room.state.lesson ?? 0) + 1));
    byId("lesson-again", HTMLButtonElement).addEventListener("click", () => void this.open(room.state.lesson));
    byId("lesson-close", HTMLButtonElement).addEventListener("click", () => {
      void this.open(null);
      byId("room", HTMLElement).focus();
    });
    byId("lesson-learn", HTMLButtonElement).addEventListener("click", () => {
      byId("learn", HTMLDetailsElement).scrollIntoView({ block: "start" });
      onLearn();
    });
  }

  /** Shows the lesson named in the state. */
  show() {
    const { lesson } = this.room.state;
    const root = document.documentElement;
    byId("lesson", HTMLElement).hidden = lesson === null;
    root.toggleAttribute("data-lesson", lesson !== null);
    for (const link of document.querySelectorAll("#lessons a")) {
      if (link.getAttribute("href") === `#lesson=${lesson}`) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
    if (lesson === this.#shown) return;
    const moved = this.#shown !== null || root.dataset.started === "yes";
    this.#shown = lesson;
    if (lesson === null) return;
    LESSONS.forEach((_, index) => (byId(`lesson-${index + 1}`, HTMLDivElement).hidden = index + 1 !== lesson));
    setText(byId("lesson-number", HTMLParagraphElement), `Lesson ${lesson} of ${LESSONS.length}`);
    const title = byId("lesson-title", HTMLHeadingElement);
    setText(title, LESSONS[lesson - 1]?.title ?? "");
    byId("lesson-previous", HTMLButtonElement).disabled = lesson === 1;
    byId("lesson-next", HTMLButtonElement).disabled = lesson === LESSONS.length;
    if (moved && this.room.phase !== "failed") title.focus({ preventScroll: true });
  }

  /** @param {number | null} lesson */
  async open(lesson) {
    const { state } = this.room;
    // Closing keeps the run, which the reader may have changed.
    if (lesson === null) return this.setState({ ...state, lesson: null });
    return this.conductor.change({ ...presetState(lesson), embed: state.embed, hide: state.hide });
  }
}
