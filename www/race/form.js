// The settings form: shows a PageState and reports changes. Its only own state is the
// recommendations of the model card.

import { byId, setText } from "../ui/dom.js";
import { integer, megabytes, tidy } from "../ui/format.js";
import { inRange, wording } from "../url/address.js";
import { SAMPLERS } from "../contract/generated/settings.js";
import { PACES, RANGES, targetAcceptance } from "./settings.js";

/** @import { Manifest } from "../contract/models.js" */
/** @import { RaceInfo, SamplerName, Space } from "../contract/race.js" */
/** @import { Range } from "../url/address.js" */
/** @import { PageState } from "./url.js" */

const SPACES = /** @type {const} */ (["pixel", "latent"]);
/** The sliders are logarithmic and cover a narrower range than the number fields. */
const SLIDERS = /** @type {const} */ ({ eps: [0.0001, 2], T: [0.1, 10] });
/** @param {SamplerName} name */
const titleOf = (name) => SAMPLERS.find((sampler) => sampler.name === name)?.title ?? name;
/** A slider fires for every pixel; the race restarts once it rests. */
const SETTLE_MS = 250;

export class Controls {
  #model = byId("f-model", HTMLSelectElement);
  #sampler = byId("f-sampler", HTMLSelectElement);
  #adapt = byId("f-adapt", HTMLInputElement);
  #match = byId("f-match", HTMLInputElement);
  #pace = byId("pace", HTMLSelectElement);
  #summary = byId("settings-summary", HTMLSpanElement);
  #timer = 0;
  /** @type {PageState | null} */
  #state = null;
  /** The step size used for an empty field, per side, from the last race. */
  #own = /** @type {Record<Space, number | null>} */ ({ pixel: null, latent: null });
  /** @type {Map<string, string>} model titles by name */
  #titles = new Map();

  /**
   * @param {object} listeners
   * @param {(state: PageState) => void} listeners.onChange any change that restarts the race
   * @param {(pace: number) => void} listeners.onPace
   */
  constructor({ onChange, onPace }) {
    this.onChange = onChange;
    this.#pace.replaceChildren(...PACES.map((pace) => new Option(`${pace} per frame`, String(pace))));
    this.#pace.addEventListener("change", () => onPace(Number(this.#pace.value)));
    byId("form", HTMLFormElement).addEventListener("submit", (event) => event.preventDefault());

    this.#model.addEventListener("change", () => this.#edit(({ config }) => {
      config.model = this.#model.value;
      // Recommended step sizes depend on the model, so old values are dropped.
      for (const space of SPACES) config[space].step_size = null;
    }));
    this.#sampler.addEventListener("change", () => this.#edit(({ config }) => {
      config.sampler = /** @type {SamplerName} */ (this.#sampler.value);
      config.target_accept = null;
      for (const space of SPACES) config[space].step_size = null;
    }));
    this.#adapt.addEventListener("change", () => this.#edit(({ config }) => (config.adapt = this.#adapt.checked)));
    this.#match.addEventListener("change", () => this.#edit(({ config }) => {
      config.match_temperature = this.#match.checked;
      if (config.match_temperature) config.pixel.temperature = config.latent.temperature;
    }));
    this.#number("f-seed", RANGES.seed, ({ config }, value) => (config.seed = value));
    this.#number("f-chains", RANGES.chains, (state, value) => {
      state.config.chains = value;
      if (state.chain !== null && state.chain >= value) state.chain = null;
    });
    this.#number("f-leapfrog", RANGES.leapfrog, ({ config }, value) => (config.leapfrog_steps = value));
    this.#number("f-warmup", RANGES.warmup, ({ config }, value) => (config.warmup = value));
    this.#number("f-accept", RANGES.accept, ({ config }, value) => (config.target_accept = value));
    this.#number("f-start", RANGES.start, ({ config }, value) => (config.start_scale = value));
    for (const space of SPACES) {
      this.#pair(space, "eps", ({ config }, value) => (config[space].step_size = value));
      this.#pair(space, "T", ({ config }, value) => {
        config[space].temperature = value;
        if (config.match_temperature) config.pixel.temperature = config.latent.temperature;
      });
      byId(`r-${space}-eps`, HTMLButtonElement).addEventListener("click", () => {
        this.#edit(({ config }) => (config[space].step_size = null));
        byId(`f-${space}-eps`, HTMLInputElement).focus();
      });
    }
  }

  /** @param {Manifest} manifest @param {string[]} cached */
  models(manifest, cached) {
    this.#titles = new Map(manifest.models.map(({ name, title }) => [name, title]));
    this.#model.replaceChildren(
      ...manifest.models.map(({ name, title, files }) => {
        const size = megabytes(files.reduce((sum, file) => sum + file.bytes, 0));
        return new Option(`${title} – ${size}${cached.includes(name) ? ", stored" : ""}`, name);
      }),
    );
    if (this.#state) this.#model.value = this.#state.config.model;
  }

  /** @param {PageState} state */
  show(state) {
    this.#state = state;
    const { config } = state;
    this.#model.value = config.model;
    this.#sampler.value = config.sampler;
    this.#adapt.checked = config.adapt;
    this.#match.checked = config.match_temperature;
    this.#pace.value = String(state.pace);
    put("f-seed", config.seed);
    put("f-chains", config.chains);
    put("f-leapfrog", config.leapfrog_steps);
    put("f-warmup", config.warmup);
    put("f-accept", config.target_accept ?? targetAcceptance(config.sampler));
    put("f-start", config.start_scale);
    byId("leapfrog-field", HTMLLabelElement).hidden = config.sampler !== "hmc";
    const adaptable = targetAcceptance(config.sampler) !== null;
    byId("adapt-field", HTMLLabelElement).hidden = !adaptable;
    byId("accept-field", HTMLLabelElement).hidden = !adaptable || !config.adapt;
    for (const space of SPACES) {
      const { step_size, temperature } = config[space];
      put(`f-${space}-eps`, step_size ?? this.#own[space]);
      slide(`s-${space}-eps`, "eps", step_size ?? this.#own[space]);
      put(`f-${space}-T`, temperature);
      slide(`s-${space}-T`, "T", temperature);
      byId(`r-${space}-eps`, HTMLButtonElement).hidden = step_size === null;
      const adapts = adaptable && config.adapt && config.warmup > 0 ? " The warm-up adapts it." : "";
      setText(byId(`h-${space}-eps`, HTMLParagraphElement), step_size === null ? `The model’s value.${adapts}` : `Your value.${adapts}`);
      const follows = space === "pixel" && config.match_temperature;
      byId(`f-${space}-T`, HTMLInputElement).disabled = follows;
      byId(`s-${space}-T`, HTMLInputElement).disabled = follows;
      const meaning = temperature === 1 ? "1: the model as trained." : temperature < 1 ? "Below 1: colder than trained." : "Above 1: hotter than trained.";
      setText(byId(`h-${space}-T`, HTMLParagraphElement), follows ? "Follows the latent side." : meaning);
    }
    const parts = [
      this.#titles.get(config.model) ?? config.model,
      titleOf(config.sampler),
      `${config.chains} + ${config.chains} chains`,
      `warm-up ${integer(config.warmup)}`,
      config.match_temperature ? `T = ${tidy(config.latent.temperature)}` : `T = ${tidy(config.pixel.temperature)} | ${tidy(config.latent.temperature)}`,
      `seed ${config.seed}`,
    ];
    setText(this.#summary, parts.join(" · "));
  }

  /** @param {RaceInfo} race @param {PageState} state */
  accepted(race, state) {
    for (const space of SPACES) if (state.config[space].step_size === null) this.#own[space] = race.config[space].step_size;
    this.show(state);
  }

  /** @param {(state: PageState) => void} change */
  #edit(change) {
    if (!this.#state) return;
    const next = structuredClone(this.#state);
    change(next);
    this.show(next);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.onChange(next), SETTLE_MS);
  }

  /**
   * @param {string} id
   * @param {Range} range
   * @param {(state: PageState, value: number) => void} set
   */
  #number(id, range, set) {
    const input = byId(id, HTMLInputElement);
    [input.min, input.max] = [String(range.least), String(range.most)];
    input.addEventListener("change", () => {
      const value = inRange(range, input.value);
      // Out of range: show the browser's validation message and keep the old value.
      input.setCustomValidity(value === undefined ? `Enter ${wording(range)}.` : "");
      if (value === undefined) input.reportValidity();
      else this.#edit((state) => set(state, value));
    });
    input.addEventListener("input", () => input.setCustomValidity(""));
  }

  /**
   * A number field and its slider.
   * @param {Space} space
   * @param {"eps" | "T"} what
   * @param {(state: PageState, value: number) => void} set
   */
  #pair(space, what, set) {
    this.#number(`f-${space}-${what}`, RANGES[what], set);
    const slider = byId(`s-${space}-${what}`, HTMLInputElement);
    slider.addEventListener("input", () => {
      const [least, most] = SLIDERS[what];
      const value = least * (most / least) ** (Number(slider.value) / 1000);
      this.#edit((state) => set(state, Number(value.toPrecision(2))));
    });
  }
}

/** @param {string} id @param {number | null} value */
function put(id, value) {
  const input = byId(id, HTMLInputElement);
  const text = value === null ? "" : String(Number(value.toPrecision(6)));
  if (input.value !== text) input.value = text;
  input.setCustomValidity("");
}

/** @param {string} id @param {"eps" | "T"} what @param {number | null} value */
function slide(id, what, value) {
  const slider = byId(id, HTMLInputElement);
  const [least, most] = SLIDERS[what];
  const clamped = Math.min(most, Math.max(least, value ?? least));
  slider.value = String(Math.round((1000 * Math.log(clamped / least)) / Math.log(most / least)));
  slider.setAttribute("aria-valuetext", value === null ? "not known yet" : tidy(value));
}
