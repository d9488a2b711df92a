// What a page around one model does: starts the engine, brings the model's files into it, and
// replaces either when it is lost. Serves the Studio and Prior, which differ in what they load and
// show. The page owns one engine and asks it one thing at a time; a run is a function of its
// settings, so that a lost engine is replaced and the run replayed.

import { announce, askToDownload, dismiss, hideCard, notice, showDownload, showError, showWaiting } from "./cards.js";
import { byId, setText } from "./dom.js";
import { WHY_CPU } from "./errors.js";
import { Failure, toError } from "./failure.js";
import { megabytes } from "./format.js";
import { Loader } from "./loader.js";
import { bytesOf } from "./model-files.js";
import { Session } from "./session.js";
import { MORE } from "./studio-models.js";

/** @import { ErrorKind, Manifest, ManifestModel, Runtime, SelfTest } from "./protocol.js" */
/** @import { LoadedModel } from "./loader.js" */
/** @import { Way, Words } from "./errors.js" */

/** Larger downloads, and all downloads of visitors who save data, are asked for first. */
const UNASKED_BYTES = 16 * 2 ** 20;
/** A device lost more often than this within a minute is not replaced unasked. */
const MOST_LOSSES = 3;

/** @typedef {"loading" | "ready" | "running" | "failed"} Phase */
/** The files of the model, kept for an engine that must be replaced. @typedef {{ model: ManifestModel, loaded: LoadedModel, classifier: LoadedModel | null }} Files */

/**
 * What a page has of its own.
 * @template Model
 * @typedef {object} Own
 * @property {Partial<Record<ErrorKind, Partial<Words>>>} texts where the race's words do not fit
 * @property {(manifest: Manifest) => ManifestModel[]} offered
 * @property {(models: ManifestModel[]) => ManifestModel | undefined} firstChoice a newcomer's
 * @property {string} none when nothing is offered
 * @property {(manifest: Manifest, model: ManifestModel) => number} size bytes that a visit with it downloads
 * @property {(manifest: Manifest, data: string) => ManifestModel | undefined} [classifier] of a data set
 * @property {(files: Files) => Promise<Model>} load hands the files to the engine
 * @property {() => string | null} wanted the model in the address
 * @property {(name: string, byHand: boolean) => void} choose puts it there
 * @property {(model: Model, another: boolean) => void} enter the rooms get to know the model
 * @property {() => boolean} running whether a run is under way
 * @property {(crashed: boolean) => void} gone the engine holds nothing any more; after a crash nothing goes on by itself
 * @property {() => Promise<unknown>} stop ends what runs, before another model
 * @property {() => (() => void) | null} interrupt ends what ran on a lost engine; gives what takes it up again, null: nothing ran
 * @property {() => void} recovered the engine is back, and nothing ran
 * @property {() => void} withdraw there is no model any more
 * @property {() => void} defaults every setting as a newcomer meets it
 */

/**
 * @template {"studio" | "prior"} Op
 * @template {{ self_test: SelfTest, title: string }} Model
 */
export class ModelPage {
  /** @type {Phase} */
  phase = "loading";
  /** As the engine knows it. @type {Model | null} */
  model = null;
  /** The model that the rooms show. */
  shown = "";
  /** @type {Files | null} */
  files = null;
  /** @type {Manifest | null} */
  manifest = null;
  /** The newest wish wins: whatever an older one still waits for is dropped. */
  #attempt = 0;
  /** @type {Runtime} */
  #runtime = new URLSearchParams(location.search).get("runtime") === "cpu" ? "cpu" : "webgpu";
  /** @type {string[]} */
  #cached = [];
  /** @type {AbortController | null} */
  #download = null;
  /** @type {number[]} */
  #losses = [];
  #recovering = false;
  #loader = new Loader({ base: new URL("models/", document.baseURI) });
  #root = document.documentElement;
  #select = byId("model", HTMLSelectElement);

  /** @param {Op} op of the engine @param {Own<Model>} own */
  constructor(op, own) {
    this.own = own;
    /** @type {Session<Op>} */
    this.session = new Session(op, (error) => this.fail(error));
    this.#select.addEventListener("change", () => {
      own.choose(this.#select.value, true);
      void this.change();
    });
    byId("forget", HTMLButtonElement).addEventListener("click", () => this.#forget().catch((error) => this.fail(error)));
    window.addEventListener("error", (event) => {
      if (event instanceof ErrorEvent && event.error) this.fail(event.error);
    });
    window.addEventListener("unhandledrejection", (event) => this.fail(event.reason));
  }

  /** From here on the page shows its own cards; early.js may have given up on a slow start already. */
  begin() {
    this.#root.dataset.started = "yes";
    byId("fallback", HTMLDivElement).hidden = true;
    byId("stage", HTMLDivElement).hidden = false;
    return this.#boot();
  }

  /** @param {Phase} next */
  #setPhase(next) {
    // A run belongs to its room, but whether one runs is the page's phase.
    if (next === "ready" || next === "running") next = this.own.running() ? "running" : "ready";
    this.phase = next;
    this.#root.dataset.phase = next;
    byId("rooms", HTMLDivElement).toggleAttribute("inert", next === "loading");
  }

  /** Some run began or ended. */
  busy() {
    this.#setPhase(this.phase);
  }

  /** The select follows the address. @param {string | null} name */
  select(name) {
    if (name) this.#select.value = name;
  }

  // From nothing to a model

  async #boot() {
    const mine = ++this.#attempt;
    this.#setPhase("loading");
    try {
      showWaiting("Starting the engine", "Is there WebGPU, and is it enough for the model?");
      this.model = null;
      this.own.gone(true);
      await this.#startEngine(mine);
      if (mine !== this.#attempt) return;
      this.manifest ??= await this.#loader.manifest();
      this.#cached = await this.#loader.cached(this.manifest, MORE);
      if (mine === this.#attempt) await this.#prepare(mine);
    } catch (error) {
      if (mine === this.#attempt) this.fail(error);
    }
  }

  /** @param {number} mine */
  async #startEngine(mine) {
    try {
      await this.session.start(this.#runtime);
    } catch (error) {
      const { kind, message } = toError(error);
      if (this.#runtime === "cpu" || kind === "unsupported" || this.session.report?.runtime === "cpu") throw error;
      await this.#moveToCpu(`The WebGPU build did not start: ${message}`);
    }
    if (mine === this.#attempt) this.#tellRuntime();
  }

  /** WebGPU is there but of no use. @param {string} reason */
  async #moveToCpu(reason) {
    this.#runtime = "cpu";
    const report = await this.session.start("cpu");
    this.session.report = { ...report, reason_kind: "broken", reason };
  }

  #tellRuntime() {
    const { report } = this.session;
    if (!report) return;
    this.#root.dataset.runtime = report.runtime;
    dismiss("cpu");
    if (report.reason_kind) notice("cpu", WHY_CPU[report.reason_kind], `${report.reason} The model and the numbers are the same; it is slower.`);
  }

  /** The model of the address, if it is there. @returns {ManifestModel} */
  #wantedModel() {
    const models = this.manifest ? this.own.offered(this.manifest) : [];
    const name = this.own.wanted();
    const wanted = models.find((each) => each.name === name);
    const chosen = wanted ?? this.own.firstChoice(models);
    if (!chosen) throw new Failure("bad-model", this.own.none);
    if (!wanted && name !== null) notice("model", "There is no such model here.", `“${name}” is not in the list, so ${chosen.title} is shown.`);
    return chosen;
  }

  #offerModels() {
    const known = this.manifest;
    if (!known) return;
    this.#select.replaceChildren(...this.own.offered(known).map((each) => new Option(`${each.title} – ${megabytes(this.own.size(known, each))}${this.#cached.includes(each.name) ? ", stored" : ""}`, each.name)));
    this.select(this.own.wanted());
  }

  /** Loads the wanted model, if it is another one, and fills the rooms. @param {number} mine */
  async #prepare(mine) {
    const wanted = this.#wantedModel();
    this.#offerModels();
    if (this.own.wanted() !== wanted.name) this.own.choose(wanted.name, false);
    if (this.files?.model.name !== wanted.name) {
      const found = await this.#fetchFiles(wanted, mine);
      if (!found || mine !== this.#attempt) return;
      this.files = found;
      this.#cached = this.manifest ? await this.#loader.cached(this.manifest, MORE) : this.#cached;
      this.#offerModels();
    }
    if (!this.model || this.shown !== wanted.name) await this.#engineLoad(mine);
    if (mine !== this.#attempt) return;
    this.#enter(wanted);
    hideCard();
    this.#setPhase("ready");
  }

  /** @param {ManifestModel} wanted @param {number} mine @returns {Promise<Files | null>} */
  async #fetchFiles(wanted, mine) {
    const known = this.manifest;
    if (!known) return null;
    this.#setPhase("loading");
    const bytes = this.own.size(known, wanted);
    const stored = this.#cached.includes(wanted.name);
    const saving = /** @type {{ connection?: { saveData?: boolean } }} */ (navigator).connection?.saveData === true;
    if (!stored && (saving || bytes > UNASKED_BYTES)) {
      const why = saving ? "Your browser is set to save data, so the page asks first." : "This model is larger than the page fetches unasked.";
      await askToDownload(wanted.title, bytes, `${why} It is checked against its SHA-256 and kept for the next visit.`);
      if (mine !== this.#attempt) return null;
    }
    const control = new AbortController();
    this.#download = control;
    /** @type {(file: string, loaded: number, total: number) => void} */
    let tell = () => {};
    if (stored) showWaiting(`Opening ${wanted.title}`, "The stored copy is checked against its SHA-256 first.");
    else tell = showDownload(wanted.title, bytes, () => control.abort());
    const own = bytesOf(wanted, MORE);
    const note = (/** @type {ErrorKind} */ kind, /** @type {string} */ message) => notice(`note-${kind}`, kind === "checksum" ? "A stored file was damaged." : "The model is not stored.", message);
    try {
      const loaded = await this.#loader.model(wanted, { signal: control.signal, progress: (file, received) => tell(file, received, bytes), note }, MORE);
      const classifier = this.own.classifier?.(known, loaded.card.data.name);
      /** @type {LoadedModel | null} */
      let judge = null;
      dismiss("classifier");
      if (classifier) {
        try {
          judge = await this.#loader.model(classifier, { signal: control.signal, progress: (file, received) => tell(`${classifier.title}: ${file}`, own + received, Math.max(bytes, own + bytesOf(classifier))), note });
        } catch (error) {
          if (control.signal.aborted) throw error;
          // A model without its classifier is still a model.
          notice("classifier", "The classifier did not load.", `${toError(error).message} Everything else works; there are no verdicts.`);
        }
      }
      return { model: wanted, loaded, classifier: judge };
    } finally {
      this.#download = null;
    }
  }

  /** Hands the files to the engine; on a device that computes wrong numbers the CPU takes over. @param {number} mine */
  async #engineLoad(mine) {
    const held = this.files;
    if (!held) return;
    this.#setPhase("loading");
    showWaiting(`Opening ${held.model.title}`, this.session.report?.runtime === "webgpu" ? "The graphics adapter compiles its programs. The first time takes a few seconds." : "The model is checked against known answers first.");
    this.own.gone(false);
    /** @type {Model} */
    let loaded;
    try {
      loaded = await this.own.load(held);
      if (!loaded.self_test.passed) throw new Failure("self-test", `Energies are off by ${loaded.self_test.max_relative_error.toExponential(1)}, allowed is ${loaded.self_test.tolerance.toExponential(1)}.`);
    } catch (error) {
      if (toError(error).kind !== "self-test" || this.session.report?.runtime !== "webgpu") throw error;
      await this.#moveToCpu(`The self-test failed on this graphics adapter: ${toError(error).message}`);
      this.#tellRuntime();
      loaded = await this.own.load(held);
      if (!loaded.self_test.passed) throw error;
    }
    if (mine === this.#attempt) this.model = loaded;
  }

  /** @param {ManifestModel} wanted */
  #enter(wanted) {
    const { model } = this;
    if (!model) return;
    const another = this.shown !== wanted.name;
    this.shown = wanted.name;
    this.#root.dataset.model = wanted.name;
    this.own.enter(model, another);
    this.#tellStorage();
    const { report } = this.session;
    const name = report ? [report.vendor, report.architecture, report.description].filter(Boolean).join(" ") : "";
    setText(byId("machine-text", HTMLParagraphElement), `${report?.runtime === "webgpu" ? `Computed with WebGPU on ${name || "an adapter that keeps its name to itself"}` : "Computed on the CPU"}. Self-test passed: energies agree within ${model.self_test.max_relative_error.toExponential(1)} (allowed ${model.self_test.tolerance.toExponential(1)}).`);
    announce(`${model.title} is ready.`);
  }

  /** Where the model's files are, and how to be rid of them. */
  #tellStorage() {
    const stored = this.#cached.includes(this.shown);
    byId("forget", HTMLButtonElement).hidden = !stored;
    setText(byId("storage-text", HTMLParagraphElement), stored ? "The model is stored in this browser." : "The model is in memory only.");
  }

  async #forget() {
    const { manifest, files } = this;
    if (!manifest || !files) return;
    await this.#loader.forget(files.model.name);
    const classifier = this.own.classifier?.(manifest, files.loaded.card.data.name);
    if (classifier) await this.#loader.forget(classifier.name);
    this.#cached = await this.#loader.cached(manifest, MORE);
    this.#offerModels();
    this.#tellStorage();
    announce(`The stored copy of ${files.model.title} was deleted; it stays in memory for now.`);
  }

  /** Another model, by the select or by the address. */
  async change() {
    const mine = ++this.#attempt;
    this.#download?.abort();
    try {
      await this.own.stop();
      if (this.phase === "failed" || !this.manifest) return await this.#boot();
      await this.#prepare(mine);
    } catch (error) {
      if (mine === this.#attempt) this.fail(error);
    }
  }

  // Failing, and going on

  /** @param {unknown} thrown @param {boolean} [again] whether a lost device may be replaced unasked */
  fail(thrown, again = true) {
    const error = toError(thrown);
    if (this.#recovering && again) return;
    if (again && error.kind === "device-lost" && this.files && this.phase !== "failed") return void this.#recover(error.message);
    this.#attempt += 1;
    // What is on the screen stays there; what would compute waits for a model.
    this.model = null;
    this.own.gone(false);
    this.#setPhase("failed");
    this.own.withdraw();
    showError(error, this.session.report, (way) => this.#go(way), this.own.texts);
  }

  /** A lost engine is replaced, the model loaded again from memory, the run replayed to where it was. @param {string} message */
  async #recover(message) {
    if (this.#recovering) return;
    const now = performance.now();
    this.#losses = [...this.#losses.filter((time) => now - time < 60_000), now];
    const mine = ++this.#attempt;
    this.#recovering = true;
    this.own.gone(false);
    // Whether a run was under way: its loop ended with the engine.
    const resume = this.own.interrupt();
    try {
      if (this.#losses.length > MOST_LOSSES) throw new Failure("device-lost", `The device was lost ${this.#losses.length} times within a minute. ${message}`);
      this.#setPhase("loading");
      showWaiting("Starting the engine again", message);
      this.model = null;
      await this.#startEngine(mine);
      await this.#engineLoad(mine);
      if (mine !== this.#attempt || !this.files) return;
      this.#enter(this.files.model);
      hideCard();
      this.#setPhase("ready");
      notice("recovered", "The compute device was lost.", `It was started again${this.session.report?.runtime === "cpu" ? " on the CPU" : ""} and the model reloaded. Settings, conditions and images are as they were${resume ? "; the run is replayed and goes on" : ""}.`);
    } catch (error) {
      if (mine === this.#attempt) this.fail(error, false);
      return;
    } finally {
      this.#recovering = false;
    }
    if (resume) resume();
    else this.own.recovered();
  }

  /** The ways forward of the error card. @param {Way} way */
  #go(way) {
    if (way === "reload") return location.reload();
    if (way === "cpu") this.#runtime = "cpu";
    if (way === "defaults") this.own.defaults();
    void (async () => {
      const name = this.own.wanted();
      if (way === "forget" && name) await this.#loader.forget(name);
      await this.#boot();
    })();
  }
}

/**
 * A hidden page must not heat anybody's lap.
 * @template {{ run: { phase: string, pause: () => Promise<unknown> }, resume: () => unknown }} Panel
 * @param {() => Panel | null} now the panel on the screen
 * @param {(error: unknown) => void} fail
 */
export function restWhenHidden(now, fail) {
  /** @type {Panel | null} */
  let resting = null;
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      const panel = now();
      if (panel?.run.phase !== "running") return;
      resting = panel;
      panel.run.pause().catch(fail);
    } else if (resting) {
      const panel = resting;
      resting = null;
      if (panel.run.phase === "paused" && panel === now()) void panel.resume();
    }
  });
}
