// The sampler's settings as fields, each with a sentence. Generate and Compose show the same ones.

import { numberField } from "../ui/fields.js";
import { RANGES } from "./settings.js";

/** @import { StudioConfig } from "../contract/studio.js" */
/** @import { NumberField } from "../ui/fields.js" */
/** @import { Setting } from "./settings.js" */

/** @type {Record<Setting, { label: string, hint: string, slider?: readonly [number, number] }>} */
const FIELDS = {
  count: { label: "Number of images", hint: "Each is a chain of its own; more take longer." },
  steps: { label: "Steps", hint: "Langevin steps of each round: too few leave noise." },
  rounds: { label: "Rounds", hint: "Each round first crops and flips the images: the move that lets chains change modes." },
  temperature: { label: "Temperature", hint: "A multiple of the one the model was trained at: below 1 cleaner and less varied.", slider: [0.01, 100] },
  truncation: { label: "Truncation", hint: "Scale of the start noise: below 1 all chains begin closer together." },
  beta: { label: "Strength β", hint: "How much the conditions weigh against the model.", slider: [0.1, 1000] },
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
