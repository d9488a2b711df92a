// A page with one model: starts the engine, loads the model's files into it, and replaces a lost
// engine. Used by the Studio and Prior, which differ in what they load and show. The page owns one
// engine and asks it one thing at a time. A run is a function of its settings, so after a loss the
// engine is replaced and the run replayed.

import { Failure, toError } from "../engine/failure.js";
import { Losses } from "../engine/keeper.js";
import { Session } from "../engine/session.js";
import { adapterName, announce, dismiss, hideCard, notice, showError, showWaiting, tellRuntime } from "../ui/cards.js";
import { byId, setText } from "../ui/dom.js";
import { megabytes } from "../ui/format.js";
import { askedRuntime, reportErrors, takeOver } from "../ui/shell.js";
import { consent, showIncoming } from "./consent.js";
import { bytesOf, MORE } from "./files.js";
import { Loader } from "./loader.js";

/** @import { ErrorKind } from "../contract/errors.js" */
/** @import { Manifest, ManifestModel, SelfTest } from "../contract/models.js" */
/** @import { Way, Words } from "../ui/errors.js" */
/** @import { LoadedModel } from "./loader.js" */

/** @typedef {"loading" | "ready" | "running" | "failed"} Phase */
/** The model's files, kept for a replacement engine. @typedef {{ model: ManifestModel, loaded: LoadedModel, classifier: LoadedModel | null }} Files */

/**
 * What each page defines.
 * @template Model
 * @typedef {object} Own
 * @property {{ kept: string, runs: string }} words what survives a failure, such as "Settings and images"; what a run consists of, such as "chains"
 * @property {Partial<Record<ErrorKind, Partial<Words>>>} texts the page's own texts for failures
 * @property {(manifest: Manifest) => ManifestModel[]} offered
 * @property {(models: ManifestModel[]) => ManifestModel | undefined} firstChoice the default model
 * @property {string} none message when no model is offered
 * @property {(manifest: Manifest, model: ManifestModel) => number} size bytes to download for this model
 * @property {(manifest: Manifest, data: string) => ManifestModel | undefined} [classifier] of a data set
 * @property {(files: Files) => Promise<Model>} load passes the files to the engine
 * @property {() => string | null} wanted the model in the address
 * @property {(name: string, byHand: boolean) => void} choose writes it to the address
 * @property {(model: Model, another: boolean) => void} enter passes the model to the rooms
 * @property {() => boolean} running whether a run is under way
 * @property {(crashed: boolean) => void} gone the engine was lost; after a crash nothing continues by itself
 * @property {() => Promise<unknown>} stop ends the current run, before another model is loaded
 * @property {() => (() => void) | null} interrupt ends the run on a lost engine and returns a function that resumes it; null: nothing ran
 * @property {() => void} recovered the engine is back, and nothing ran
 * @property {() => void} withdraw the model is no longer available
 * @property {() => void} defaults restores the default settings
 */

/**
 * @template {"studio" | "prior"} Op
 * @template {{ self_test: SelfTest, title: string }} Model
 */
export class ModelPage {
  /** @type {Phase} */
  phase = "loading";
  /** The model in the engine. @type {Model | null} */
  model = null;
  /** Name of the model that the rooms show. */
  shown = "";
  /** @type {Files | null} */
  files = null;
  /** @type {Manifest | null} */
  manifest = null;
  /** The newest request wins: results of older ones are dropped. */
  #attempt = 0;
  /** @type {import("../contract/session.js").Choice} */
  #runtime = askedRuntime;
  /** @type {string[]} */
  #cached = [];
  /** @type {AbortController | null} */
  #download = null;
  #losses = new Losses();
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
    reportErrors((error) => this.fail(error));
  }

  begin() {
    takeOver();
    return this.#boot();
  }

  /** @param {Phase} next */
  #setPhase(next) {
    // Runs belong to the rooms, but the page's phase records whether one is running.
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

  // Loading

  async #boot() {
    const mine = ++this.#attempt;
    this.#setPhase("loading");
    try {
      showWaiting("Starting the engine", "Is WebGPU available, and is it enough for the model?");
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
    const report = await this.session.startSomehow(this.#runtime);
    // A runtime that failed once is not tried again after the next loss.
    if (report.reason_kind === "broken") this.#runtime = "cpu";
    if (mine === this.#attempt) tellRuntime(report);
  }

  /** The model named in the address, if it is available. @returns {ManifestModel} */
  #wantedModel() {
    const models = this.manifest ? this.own.offered(this.manifest) : [];
    const name = this.own.wanted();
    const wanted = models.find((each) => each.name === name);
    const chosen = wanted ?? this.own.firstChoice(models);
    if (!chosen) throw new Failure("bad-model", this.own.none);
    if (!wanted && name !== null) notice("model", "This model is not available.", `“${name}” is not in the list, so ${chosen.title} is shown.`);
    return chosen;
  }

  #offerModels() {
    const known = this.manifest;
    if (!known) return;
    this.#select.replaceChildren(...this.own.offered(known).map((each) => new Option(`${each.title} – ${megabytes(this.own.size(known, each))}${this.#cached.includes(each.name) ? ", stored" : ""}`, each.name)));
    this.select(this.own.wanted());
  }

  /** Loads the wanted model, unless it is loaded already, and fills the rooms. @param {number} mine */
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
    if (!stored) await consent(wanted.title, bytes);
    if (mine !== this.#attempt) return null;
    const control = new AbortController();
    this.#download = control;
    const tell = showIncoming(wanted.title, bytes, stored, () => control.abort());
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
          // The model works without its classifier.
          notice("classifier", "The classifier did not load.", `${toError(error).message} Everything else works, but there are no class predictions.`);
        }
      }
      return { model: wanted, loaded, classifier: judge };
    } finally {
      this.#download = null;
    }
  }

  /** Passes the files to the engine; if the device computes wrong numbers, the CPU takes over. @param {number} mine */
  async #engineLoad(mine) {
    const held = this.files;
    if (!held) return;
    this.#setPhase("loading");
    showWaiting(`Opening ${held.model.title}`, this.session.report?.runtime === "webgpu" ? "The graphics adapter compiles its shaders. The first time takes a few seconds." : "The model is first checked against known answers.");
    this.own.gone(false);
    let moved = false;
    const loaded = await this.session.loadTested(
      () => this.own.load(held),
      () => {
        this.#runtime = "cpu";
        moved = true;
      },
    );
    if (mine !== this.#attempt) return;
    if (moved && this.session.report) tellRuntime(this.session.report);
    this.model = loaded;
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
    setText(byId("machine-text", HTMLParagraphElement), `${report?.runtime === "webgpu" ? `Computed with WebGPU on ${adapterName(report)}` : "Computed on the CPU"}. Self-test passed: energies agree within ${model.self_test.max_relative_error.toExponential(1)} (allowed ${model.self_test.tolerance.toExponential(1)}).`);
    announce(`${model.title} is ready.`);
  }

  /** Shows where the model's files are stored, and the button that deletes them. */
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

  // Failure and recovery

  /** @param {unknown} thrown @param {boolean} [again] whether a lost device may be replaced automatically */
  fail(thrown, again = true) {
    const error = toError(thrown);
    if (this.#recovering && again) return;
    if (again && error.kind === "device-lost" && this.files && this.phase !== "failed") return void this.#recover(error.message);
    this.#attempt += 1;
    // The display stays; computing controls wait for a model.
    this.model = null;
    this.own.gone(false);
    this.#setPhase("failed");
    this.own.withdraw();
    showError(error, this.session.report, (way) => this.#go(way), { texts: { ...failureTexts(this.own.words), ...this.own.texts } });
  }

  /** Replaces a lost engine, reloads the model from memory and replays the run to its last state. @param {string} message */
  async #recover(message) {
    if (this.#recovering) return;
    this.#losses.add();
    const mine = ++this.#attempt;
    this.#recovering = true;
    this.own.gone(false);
    // Whether a run was active: its loop ended with the engine.
    const resume = this.own.interrupt();
    try {
      const enough = this.#losses.tooMany(message);
      if (enough) throw enough;
      this.#setPhase("loading");
      showWaiting("Starting the engine again", message);
      this.model = null;
      await this.#startEngine(mine);
      await this.#engineLoad(mine);
      if (mine !== this.#attempt || !this.files) return;
      this.#enter(this.files.model);
      hideCard();
      this.#setPhase("ready");
      notice("recovered", "The compute device was lost.", `It was restarted${this.session.report?.runtime === "cpu" ? " on the CPU" : ""}, and the model was reloaded. ${this.own.words.kept} are unchanged${resume ? "; the run is replayed and continues" : ""}.`);
    } catch (error) {
      if (mine === this.#attempt) this.fail(error, false);
      return;
    } finally {
      this.#recovering = false;
    }
    if (resume) resume();
    else this.own.recovered();
  }

  /** Actions of the error card. @param {Way} way */
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
 * Failure texts of a page with one model, where the general texts do not fit.
 * @param {{ kept: string, runs: string }} words
 * @returns {Partial<Record<ErrorKind, Partial<Words>>>}
 */
function failureTexts({ kept, runs }) {
  return {
    "device-lost": { text: `The device was lost repeatedly. Driver updates, sleep and overload can cause this. ${kept} are kept; the run can be replayed, here or on the CPU.`, ways: ["restart", "cpu", "reload"] },
    panic: { text: "This is a bug in mixwell. Please include the message below in a bug report. The page still works: a restart reloads the model and keeps your settings and images.", ways: ["restart", "cpu", "defaults"] },
    "out-of-memory": { text: `The device does not have enough free memory for this run. Use fewer ${runs}, or close other tabs.`, ways: ["restart", "cpu", "defaults"] },
    quota: { text: "The browser’s storage is full or blocked. The model runs from memory, and the next visit downloads it again." },
  };
}
