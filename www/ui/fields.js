// Number fields that show what is wrong beside the field. A rejected value changes nothing.

import { inRange, wording } from "../url/address.js";
import { make, setText } from "./dom.js";

/** @import { Range } from "../url/address.js" */

/**
 * @typedef {object} NumberField
 * @property {HTMLDivElement} element
 * @property {HTMLInputElement} input
 * @property {(value: number | null, hint?: string, meant?: number | null) => void} show meant: the value that an empty field stands for, for the slider
 * @property {(text: string) => void} complain "" clears the complaint
 */

/**
 * A text field, because a number field hides invalid input such as "NaN"; with an optional logarithmic
 * slider.
 * @param {object} options
 * @param {string} options.id
 * @param {string} options.label
 * @param {Range} options.range
 * @param {string} [options.empty] what an empty field means, where it may be empty
 * @param {readonly [number, number]} [options.slider]
 * @param {(value: number | null) => string | null | void} options.onChange a complaint, if any
 * @returns {NumberField}
 */
export function numberField({ id, label, range, empty, slider, onChange }) {
  const hint = make("p", { class: "hint", id: `${id}-hint` });
  const problem = make("p", { class: "problem", id: `${id}-problem`, role: "alert" });
  const input = make("input", { id, type: "text", inputmode: range.whole ? "numeric" : "decimal", autocomplete: "off", "aria-describedby": `${id}-hint ${id}-problem` });
  if (empty) input.placeholder = empty;
  const element = make("div", { class: "field" }, make("label", { for: id }, label), input);
  const track = slider ? make("input", { type: "range", id: `${id}-slider`, min: "0", max: "1000", "aria-label": `${label}, logarithmic` }) : null;
  if (track) element.append(track);
  element.append(hint, problem);

  /** @param {string} text */
  const complain = (text) => {
    setText(problem, text);
    input.toggleAttribute("aria-invalid", text !== "");
    if (text !== "") input.setAttribute("aria-invalid", "true");
  };
  input.addEventListener("change", () => {
    const text = input.value.trim();
    const value = text === "" && empty ? null : inRange(range, text);
    if (value === undefined) return complain(`${text === "" ? "This field is empty" : `“${text.slice(0, 24)}” is not valid`}: enter ${wording(range)}. Nothing was changed.`);
    complain(onChange(value) ?? "");
  });
  track?.addEventListener("input", () => {
    const [least, most] = slider ?? [1, 10];
    const value = Number((least * (most / least) ** (Number(track.value) / 1000)).toPrecision(2));
    complain(onChange(value) ?? "");
  });
  let last = /** @type {number | null | undefined} */ (undefined);
  return {
    element,
    input,
    complain,
    show(value, text = "", meant = value) {
      // A complaint stays until the field or the value changes.
      if (problem.textContent !== "" && value === last) return setText(hint, text);
      last = value;
      const shown = value === null ? "" : String(Number(value.toPrecision(6)));
      if (input.value !== shown) input.value = shown;
      setText(hint, text);
      complain("");
      if (!track || !slider) return;
      const [least, most] = slider;
      const inside = Math.min(most, Math.max(least, meant ?? least));
      track.value = String(Math.round((1000 * Math.log(inside / least)) / Math.log(most / least)));
      track.setAttribute("aria-valuetext", meant === null ? (empty ?? "not known yet") : `${value === null ? `${empty}, ` : ""}${Number(meant.toPrecision(3))}`);
    },
  };
}
