// Fields for the sampler's settings, each with a hint. Used by Generate and Compose.

import { numberField } from "../ui/fields.js";
import { RANGES } from "./settings.js";

/** @import { StudioConfig } from "../contract/studio.js" */
/** @import { NumberField } from "../ui/fields.js" */
/** @import { Setting } from "./settings.js" */

/** @type {Record<Setting, { label: string, hint: string, slider?: readonly [number, number] }>} */
const FIELDS = {
  count: { label: "Number of images", hint: "Each is one chain; more take longer." },
  steps: { label: "Steps", hint: "Langevin steps per round; too few leave noise." },
  rounds: { label: "Rounds", hint: "Each round first crops and flips the images, which lets chains change modes." },
  temperature: { label: "Temperature", hint: "A multiple of the training temperature; below 1: cleaner and less varied.", slider: [0.01, 100] },
  truncation: { label: "Truncation", hint: "Scale of the start noise; below 1: chains start closer together." },
  beta: { label: "Strength β", hint: "Weight of the conditions relative to the model.", slider: [0.1, 1000] },
  seed: { label: "Seed", hint: "The same seed and settings make the same images." },
};

export class SettingsForm {
  /** @type {Map<Setting, NumberField>} */
  #fields = new Map();

  /**
   * @param {HTMLElement} host
   * @param {string} prefix of the ids
   * @param {Setting[]} names in order
   * @param {(name: Setting, value: number) => void} onChange
   */
  constructor(host, prefix, names, onChange) {
    for (const name of names) {
      const { label, slider } = FIELDS[name];
      const field = numberField({ id: `${prefix}-${name}`, label, range: RANGES[name], ...(slider ? { slider } : {}), onChange: (value) => onChange(name, Number(value)) });
      this.#fields.set(name, field);
      host.append(field.element);
    }
  }

  /** @param {StudioConfig} config @param {boolean} augments */
  show(config, augments) {
    for (const [name, field] of this.#fields) {
      field.show(config[name], FIELDS[name].hint);
      if (name === "rounds") field.element.hidden = !augments;
    }
  }
}
