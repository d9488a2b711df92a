// Starts the Studio and holds it together: the address, the model, the engine, and the rooms
// Generate, Compose and Score. The page owns one engine and asks it one thing at a time; a run is a
// function of its settings, so that a lost engine is replaced and the run replayed.

import { announce, askToDownload, dismiss, hideCard, notice, showDownload, showError, showWaiting } from "./cards.js";
import { byId, copyWith, setText } from "./dom.js";
import { WHY_CPU } from "./errors.js";
import { Failure, toError } from "./failure.js";
import { integer, megabytes } from "./format.js";
import { setUpKeys } from "./keys.js";
import { Loader } from "./loader.js";
import { bytesOf } from "./model-files.js";
import { Session } from "./session.js";
import { ComposeRoom } from "./studio-compose.js";
import { fileOf } from "./studio-intake.js";
import { classifierFor, firstChoice, MORE, offered, textOf, wholeSize } from "./studio-models.js";
import { RunPanel } from "./studio-panel.js";
import { ScoreRoom } from "./studio-score.js";
import { SettingsForm } from "./studio-settings.js";
import { bareRoom, configOf, defaultState, formatState, parseState, SETTINGS } from "./studio-url.js";
import { shareText, verdictOf } from "./studio-words.js";
import { setUpTheme } from "./theme.js";

/** @import { ErrorKind, Manifest, ManifestModel, Runtime } from "./protocol.js" */
/** @import { LoadedModel } from "./loader.js" */
/** @import { StudioModel } from "./studio-protocol.js" */
/** @import { Desk } from "./studio-run.js" */
/** @import { App } from "./studio-panel.js" */
/** @import { Room, Setting, StudioState } from "./studio-url.js" */
/** @import { Way, Words } from "./errors.js" */

/** Larger downloads, and all downloads of visitors who save data, are asked for first. */
const UNASKED_BYTES = 16 * 2 ** 20;
/** A device lost more often than this within a minute is not replaced unasked. */
const MOST_LOSSES = 3;

/** @type {Record<Room, { title: string, lede: string }>} */
const ROOM_TEXTS = {
  generate: { title: "Generate", lede: "Press Generate: images form out of noise, step by step, by following the gradient of an energy." },
  compose: { title: "Compose", lede: "Choose conditions, join them with AND, OR and NOT, and see what the chains make of them. Or keep a part of an image and have the rest filled in." },
  score: { title: "Score", lede: "Give the model an image, and see how typical it finds it, and why." },
};

/** Where the race's words do not fit. @type {Partial<Record<ErrorKind, Partial<Words>>>} */
const TEXTS = {
  "device-lost": { text: "The device was lost again and again. Driver updates, sleep and overload do this. Settings, conditions and images are still here; the run can be replayed, here or on the CPU.", ways: ["restart", "cpu", "reload"] },
  panic: { text: "This is a defect of mixwell. The message below helps to find it; please copy it into a report. The page is fine: a restart loads the model again and keeps your settings and images.", ways: ["restart", "cpu", "defaults"] },
  "out-of-memory": { text: "The device has too little memory left for this run. Fewer images need less, and closing other tabs can help.", ways: ["restart", "cpu", "defaults"] },
  quota: { text: "There is no room for it, or the browser keeps nothing here. The model runs from memory; the next visit downloads it again." },
  unsupported: { title: "This browser cannot run the studio" },
};

const query = new URLSearchParams(location.search);
const root = document.documentElement;
const modelSelect = byId("model", HTMLSelectElement);

/** @type {"loading" | "ready" | "running" | "failed"} */
let phase = "loading";
/** The newest wish wins: whatever an older one still waits for is dropped. */
let attempt = 0;
/** @type {Runtime} */
let runtime = query.get("runtime") === "cpu" ? "cpu" : "webgpu";
/** @type {Manifest | null} */
let manifest = null;
/** @type {string[]} */
let cached = [];
/** @type {AbortController | null} */
let download = null;
/** The files of the model, kept for an engine that must be replaced. @type {{ model: ManifestModel, loaded: LoadedModel, classifier: LoadedModel | null } | null} */
let files = null;
/** As the engine knows it. @type {StudioModel | null} */
let model = null;
/** The model that the rooms show. */
let shownModel = "";
let state = readAddress();
/** @type {number[]} */
let losses = [];
let recovering = false;

const loader = new Loader({ base: new URL("models/", document.baseURI) });
const session = new Session("studio", (error) => fail(error));
/** @type {Desk} */
const desk = { session, held: null };
/** @type {App} */
const app = {
  desk,
  model: () => model,
  modelName: () => shownModel,
  config: () => {
    if (!model) throw new Failure("bad-config", "The model is not loaded yet.");
    return configOf(state, model.defaults);
  },
  setSeed: (seed) => setSetting("seed", seed),
  fail,
  busy: () => setPhase(phase),
  addCondition: (image, name) => {
    compose.add({ image }, name);
    goTo("compose");
  },
  scoreImage: (image, name) => {
    goTo("score");
    void score.scoreImage(image, name);
  },
};
const generate = new RunPanel(app, {
  prefix: "g",
  verb: "Generate",
  sample: "Sample",
  config: () => app.config(),
  onFrame: (frame) => setText(byId("g-foot", HTMLParagraphElement), frame ? "Click a sample for its energy, to compose with it, or to score it." : ""),
  caption: (frame, sample) => {
    const best = frame.verdict && model?.classifier ? verdictOf(frame.verdict, sample, model.classes)[0] : undefined;
    return best ? `${best.name} ${shareText(best.probability)}` : "";
  },
});
const settings = new SettingsForm(byId("g-fields", HTMLDivElement), "g", ["count", "steps", "rounds", "temperature", "seed", "truncation"], setSetting);
const compose = new ComposeRoom(app, { onChange: () => setState({ ...state, classes: compose.classes }), onSetting: setSetting, chosen: () => generate.chosen });
const score = new ScoreRoom(app, () => {
  if (generate.chosen) return generate.chosen;
  if (!generate.run.frame) return null;
  generate.grid.choose(generate.grid.order[0] ?? 0);
  return generate.chosen;
});

/** @param {typeof phase} next */
function setPhase(next) {
  // A run belongs to its room, but whether one runs is the page's phase.
  if (next === "ready" || next === "running") next = generate.run.active || compose.panel.run.active ? "running" : "ready";
  phase = next;
  root.dataset.phase = next;
  byId("rooms", HTMLDivElement).toggleAttribute("inert", next === "loading");
}

function readAddress() {
  const { state: read, problems } = parseState(location.hash);
  dismiss("address");
  if (problems.length > 0) notice("address", "Part of the address could not be read.", `${problems.join("; ")}. The defaults are used for ${problems.length === 1 ? "it" : "these"}.`);
  return read;
}

/** @param {StudioState} next */
function setState(next) {
  state = next;
  // Replaced, not pushed: a slider should not fill the visitor's history.
  history.replaceState(null, "", formatState(state));
  if (model) {
    const config = configOf(state, model.defaults);
    settings.show(config, model.augments);
    compose.settings.show(config, model.augments);
  }
  if (state.model) modelSelect.value = state.model;
  showRoom();
}

/** @param {Setting} name @param {number} value */
function setSetting(name, value) {
  if (state.settings[name] === value) return;
  setState({ ...state, settings: { ...state.settings, [name]: value } });
  // What runs is no longer what is asked for. β means nothing without conditions.
  if (name !== "beta") generate.outdated();
  compose.panel.outdated();
}

let shownRoom = /** @type {Room | null} */ (null);

function showRoom() {
  const { room } = state;
  if (room === shownRoom) return;
  shownRoom = room;
  root.dataset.room = room;
  for (const name of /** @type {Room[]} */ (Object.keys(ROOM_TEXTS))) byId(`room-${name}`, HTMLElement).hidden = name !== room;
  for (const part of document.querySelectorAll("[data-of]")) if (part instanceof HTMLElement) part.hidden = part.dataset.of !== room;
  for (const link of document.querySelectorAll("nav.rooms a")) {
    if (link instanceof HTMLAnchorElement && link.dataset.room === room) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const { title, lede } = ROOM_TEXTS[room];
  setText(byId("title", HTMLHeadingElement), title);
  setText(byId("lede", HTMLParagraphElement), lede);
  document.title = `mixwell – ${title.toLowerCase()}`;
  // A run that nobody sees rests; it goes on with Continue.
  if (room !== "generate") generate.run.pause().catch(fail);
  if (room !== "compose") compose.panel.run.pause().catch(fail);
  if (room !== "score") score.pause();
  compose.rebuild();
}

/** @param {Room} room */
function goTo(room) {
  if (room === state.room) return;
  // A step in the history, so that Back comes back.
  history.pushState(null, "", formatState({ ...state, room }));
  setState({ ...state, room });
  scrollTo({ top: 0 });
  announce(ROOM_TEXTS[room].title);
}

// From nothing to a model

async function boot() {
  const mine = ++attempt;
  setPhase("loading");
  try {
    showWaiting("Starting the engine", "Is there WebGPU, and is it enough for the model?");
    model = null;
    desk.held = null;
    // After a crash nothing goes on by itself.
    generate.run.interrupted = compose.panel.run.interrupted = false;
    await startEngine(mine);
    if (mine !== attempt) return;
    manifest ??= await loader.manifest();
    cached = await loader.cached(manifest, MORE);
    if (mine === attempt) await prepare(mine);
  } catch (error) {
    if (mine === attempt) fail(error);
  }
}

/** @param {number} mine */
async function startEngine(mine) {
  try {
    await session.start(runtime);
  } catch (error) {
    const { kind, message } = toError(error);
    if (runtime === "cpu" || kind === "unsupported" || session.report?.runtime === "cpu") throw error;
    await moveToCpu(`The WebGPU build did not start: ${message}`);
  }
  if (mine === attempt) tellRuntime();
}

/** WebGPU is there but of no use. @param {string} reason */
async function moveToCpu(reason) {
  runtime = "cpu";
  const report = await session.start("cpu");
  session.report = { ...report, reason_kind: "broken", reason };
}

function tellRuntime() {
  const report = session.report;
  if (!report) return;
  root.dataset.runtime = report.runtime;
  dismiss("cpu");
  if (report.reason_kind) notice("cpu", WHY_CPU[report.reason_kind], `${report.reason} The model and the numbers are the same; it is slower.`);
}

/** The model of the address, if it is there. @returns {ManifestModel} */
function wantedModel() {
  const models = manifest ? offered(manifest) : [];
  const wanted = models.find(({ name }) => name === state.model);
  const chosen = wanted ?? firstChoice(models);
  if (!chosen) throw new Failure("bad-model", "None of the models here can be sampled.");
  if (!wanted && state.model !== null) notice("model", "There is no such model here.", `“${state.model}” is not in the list, so ${chosen.title} is shown.`);
  return chosen;
}

function offerModels() {
  const known = manifest;
  if (!known) return;
  modelSelect.replaceChildren(...offered(known).map((each) => new Option(`${each.title} – ${megabytes(wholeSize(known, each))}${cached.includes(each.name) ? ", stored" : ""}`, each.name)));
  if (state.model) modelSelect.value = state.model;
}

/** Loads the wanted model, if it is another one, and fills the rooms. @param {number} mine */
async function prepare(mine) {
  const wanted = wantedModel();
  offerModels();
  if (state.model !== wanted.name) setState({ ...state, model: wanted.name });
  if (files?.model.name !== wanted.name) {
    const found = await fetchFiles(wanted, mine);
    if (!found || mine !== attempt) return;
    files = found;
    cached = manifest ? await loader.cached(manifest, MORE) : cached;
    offerModels();
  }
  if (!model || shownModel !== wanted.name) await engineLoad(mine);
  if (mine !== attempt) return;
  enter(wanted);
  hideCard();
  setPhase("ready");
}

/** @param {ManifestModel} wanted @param {number} mine */
async function fetchFiles(wanted, mine) {
  const known = manifest;
  if (!known) return null;
  setPhase("loading");
  const bytes = wholeSize(known, wanted);
  const stored = cached.includes(wanted.name);
  const saving = /** @type {{ connection?: { saveData?: boolean } }} */ (navigator).connection?.saveData === true;
  if (!stored && (saving || bytes > UNASKED_BYTES)) {
    const why = saving ? "Your browser is set to save data, so the page asks first." : "This model is larger than the page fetches unasked.";
    await askToDownload(wanted.title, bytes, `${why} It is checked against its SHA-256 and kept for the next visit.`);
    if (mine !== attempt) return null;
  }
  const control = new AbortController();
  download = control;
  /** @type {(file: string, loaded: number, total: number) => void} */
  let tell = () => {};
  if (stored) showWaiting(`Opening ${wanted.title}`, "The stored copy is checked against its SHA-256 first.");
  else tell = showDownload(wanted.title, bytes, () => control.abort());
  const own = bytesOf(wanted, MORE);
  const note = (/** @type {ErrorKind} */ kind, /** @type {string} */ message) => notice(`note-${kind}`, kind === "checksum" ? "A stored file was damaged." : "The model is not stored.", message);
  try {
    const loaded = await loader.model(wanted, { signal: control.signal, progress: (file, received) => tell(file, received, bytes), note }, MORE);
    const classifier = classifierFor(known, loaded.card.data.name);
    /** @type {LoadedModel | null} */
    let judge = null;
    dismiss("classifier");
    if (classifier) {
      try {
        judge = await loader.model(classifier, { signal: control.signal, progress: (file, received) => tell(`${classifier.title}: ${file}`, own + received, Math.max(bytes, own + bytesOf(classifier))), note });
      } catch (error) {
        if (control.signal.aborted) throw error;
        // A model without its classifier is still a model.
        notice("classifier", "The classifier did not load.", `${toError(error).message} Everything else works; there are no verdicts.`);
      }
    }
    return { model: wanted, loaded, classifier: judge };
  } finally {
    download = null;
  }
}

/** Hands the files to the engine; on a device that computes wrong numbers the CPU takes over. @param {number} mine */
async function engineLoad(mine) {
  const held = files;
  if (!held) return;
  setPhase("loading");
  showWaiting(`Opening ${held.model.title}`, session.report?.runtime === "webgpu" ? "The graphics adapter compiles its programs. The first time takes a few seconds." : "The model is checked against known answers first.");
  const judge = held.classifier;
  const ask = () => session.ask("load", textOf(held.loaded, "card.json") ?? "", held.loaded.weights, judge ? { card: textOf(judge, "card.json") ?? "", weights: judge.weights } : null, textOf(held.loaded, "scores.json"));
  desk.held = null;
  /** @type {StudioModel} */
  let loaded;
  try {
    loaded = await ask();
    if (!loaded.self_test.passed) throw new Failure("self-test", `Energies are off by ${loaded.self_test.max_relative_error.toExponential(1)}, allowed is ${loaded.self_test.tolerance.toExponential(1)}.`);
  } catch (error) {
    if (toError(error).kind !== "self-test" || session.report?.runtime !== "webgpu") throw error;
    await moveToCpu(`The self-test failed on this graphics adapter: ${toError(error).message}`);
    tellRuntime();
    loaded = await ask();
    if (!loaded.self_test.passed) throw error;
  }
  if (mine === attempt) model = loaded;
}

/** The rooms get to know the model. @param {ManifestModel} wanted */
function enter(wanted) {
  if (!model) return;
  const another = shownModel !== wanted.name;
  shownModel = wanted.name;
  root.dataset.model = wanted.name;
  if (another) {
    generate.forget();
    compose.panel.forget();
  }
  compose.setModel(model, another);
  // Conditions come from the address, or they are there already; a class must exist.
  const known = another ? compose.setClasses(state.classes, model.classes) : state.classes.length;
  if (known < state.classes.length) notice("classes", "Some conditions were left out.", `${model.title} has ${model.classes.length} classes, and the conditions named others.`);
  const fresh = { ...state.settings };
  for (const name of SETTINGS) fresh[name] ??= model.defaults[name];
  if (!model.augments) fresh.rounds = 1;
  setState({ ...state, settings: fresh, classes: compose.classes });
  score.setModel(model, another);
  setText(generate.empty, "Press Generate. Each square will be one image, and all of them begin as noise.");
  setText(byId("g-method", HTMLParagraphElement), model.method);
  tellStorage();
  setText(byId("model-text", HTMLParagraphElement), `${integer(model.parameters)} parameters${model.classifier ? `, with an independent classifier (${(100 * model.classifier.accuracy).toFixed(1)} % right)` : ""}. Licence: ${model.licence}.`);
  const report = session.report;
  const name = report ? [report.vendor, report.architecture, report.description].filter(Boolean).join(" ") : "";
  setText(byId("machine-text", HTMLParagraphElement), `${report?.runtime === "webgpu" ? `Computed with WebGPU on ${name || "an adapter that keeps its name to itself"}` : "Computed on the CPU"}. Self-test passed: energies agree within ${model.self_test.max_relative_error.toExponential(1)} (allowed ${model.self_test.tolerance.toExponential(1)}).`);
  generate.refresh();
  compose.panel.refresh();
  announce(`${model.title} is ready.`);
}

/** Where the model's files are, and how to be rid of them. */
function tellStorage() {
  const stored = cached.includes(shownModel);
  byId("forget", HTMLButtonElement).hidden = !stored;
  setText(byId("storage-text", HTMLParagraphElement), stored ? "The model is stored in this browser." : "The model is in memory only.");
}

async function forget() {
  if (!manifest || !files) return;
  await loader.forget(files.model.name);
  const classifier = classifierFor(manifest, files.loaded.card.data.name);
  if (classifier) await loader.forget(classifier.name);
  cached = await loader.cached(manifest, MORE);
  offerModels();
  tellStorage();
  announce(`The stored copy of ${files.model.title} was deleted; it stays in memory for now.`);
}

// Changes from outside

/** Another model, by the select or by the address. */
async function changeModel() {
  const mine = ++attempt;
  download?.abort();
  try {
    await Promise.all([generate.run.stop(), compose.panel.run.stop()]);
    if (phase === "failed" || !manifest) return await boot();
    await prepare(mine);
  } catch (error) {
    if (mine === attempt) fail(error);
  }
}

/** The address was edited, or a link to a room was followed. */
function followAddress() {
  const room = bareRoom(location.hash);
  if (room) {
    dismiss("address");
    setState({ ...state, room });
    return scrollTo({ top: 0 });
  }
  const next = readAddress();
  const another = next.model !== null && next.model !== shownModel;
  const fresh = { ...next.settings };
  if (!another && model) for (const name of SETTINGS) fresh[name] ??= model.defaults[name];
  const differs = JSON.stringify([next.settings, next.classes]) !== JSON.stringify([state.settings, state.classes]);
  setState({ ...next, model: next.model ?? state.model, settings: fresh });
  if (another) return void changeModel();
  if (!differs || !model) return;
  compose.setClasses(state.classes, model.classes);
  generate.outdated();
  compose.panel.outdated();
}

// Failing, and going on

/** @param {unknown} thrown @param {boolean} [again] whether a lost device may be replaced unasked */
function fail(thrown, again = true) {
  const error = toError(thrown);
  if (recovering && again) return;
  if (again && error.kind === "device-lost" && files && phase !== "failed") return void recover(error.message);
  attempt += 1;
  // What is on the screen stays there; what would compute waits for a model.
  model = null;
  desk.held = null;
  setPhase("failed");
  generate.refresh();
  compose.panel.refresh();
  showError(error, session.report, go, TEXTS);
}

/** A lost engine is replaced, the model loaded again from memory, the run replayed to where it was. @param {string} message */
async function recover(message) {
  if (recovering) return;
  const now = performance.now();
  losses = [...losses.filter((time) => now - time < 60_000), now];
  const mine = ++attempt;
  recovering = true;
  desk.held = null;
  // Whether a run was under way: its loop ended with the engine.
  const active = [generate, compose.panel].filter(({ run }) => run.open && (run.active || run.interrupted));
  for (const { run } of active) run.interrupt();
  try {
    if (losses.length > MOST_LOSSES) throw new Failure("device-lost", `The device was lost ${losses.length} times within a minute. ${message}`);
    setPhase("loading");
    showWaiting("Starting the engine again", message);
    model = null;
    await startEngine(mine);
    await engineLoad(mine);
    if (mine !== attempt || !files) return;
    enter(files.model);
    hideCard();
    setPhase("ready");
    notice("recovered", "The compute device was lost.", `It was started again${session.report?.runtime === "cpu" ? " on the CPU" : ""} and the model reloaded. Settings, conditions and images are as they were${active.length > 0 ? "; the run is replayed and goes on" : ""}.`);
  } catch (error) {
    if (mine === attempt) fail(error, false);
    return;
  } finally {
    recovering = false;
  }
  for (const panel of active) void panel.resume();
  if (active.length === 0) score.recovered();
}

/** The ways forward of the error card. @param {Way} way */
function go(way) {
  if (way === "reload") return location.reload();
  if (way === "cpu") runtime = "cpu";
  if (way === "defaults") compose.setClasses([], []);
  if (way === "defaults") setState({ ...defaultState(), room: state.room, model: files?.model.name ?? null, });
  void (async () => {
    if (way === "forget" && state.model) await loader.forget(state.model);
    await boot();
  })();
}

// Wiring

modelSelect.addEventListener("change", () => {
  // Steps, temperature and β are a model's own; the seed and the number are the visitor's.
  const { seed, count } = state.settings;
  setState({ ...state, model: modelSelect.value, settings: { ...defaultState().settings, seed, count } });
  void changeModel();
});
byId("copy-link", HTMLButtonElement).addEventListener("click", ({ currentTarget }) => {
  if (!(currentTarget instanceof HTMLButtonElement)) return;
  void copyWith(currentTarget, location.href, announce);
  if (compose.items.some(({ of }) => "image" in of)) notice("link", "The link carries no images.", "A condition is an image, and images are not in the address. Everything else is.");
});
byId("forget", HTMLButtonElement).addEventListener("click", () => forget().catch(fail));
byId("g-defaults", HTMLButtonElement).addEventListener("click", () => {
  if (!model) return;
  const { seed } = state.settings;
  for (const name of SETTINGS) if (name !== "seed") setSetting(name, model.defaults[name]);
  announce(`Back to what the model recommends. The seed stays ${seed}.`);
});
for (const link of document.querySelectorAll("nav.rooms a[data-room]")) {
  link.addEventListener("click", (event) => {
    // Within the page: no reload, and the address keeps the rest.
    if (!(event instanceof MouseEvent) || event.ctrlKey || event.metaKey || event.shiftKey || !(link instanceof HTMLElement)) return;
    event.preventDefault();
    goTo(/** @type {Room} */ (link.dataset.room));
  });
}
// The hash is the page's state, so this one link must not become it.
document.querySelector("a.skip")?.addEventListener("click", (event) => {
  event.preventDefault();
  byId("rooms", HTMLDivElement).focus();
});
window.addEventListener("hashchange", followAddress);
window.addEventListener("popstate", followAddress);

/** @param {DataTransfer | null} data @param {boolean} dropped @param {EventTarget | null} target */
function takeIn(data, dropped, target) {
  const file = fileOf(data);
  if (!file || !model) return false;
  if (state.room === "compose") {
    const inpaint = byId("c-inpaint", HTMLDetailsElement);
    if (dropped ? target instanceof Node && inpaint.contains(target) : compose.inpaintHasFocus) compose.takeInpaint(file);
    else compose.take(file);
  } else {
    // From Generate, a dropped image can only be meant to be scored.
    goTo("score");
    void score.take(file);
  }
  return true;
}
document.addEventListener("paste", (event) => {
  if (takeIn(event.clipboardData, false, event.target)) event.preventDefault();
});
for (const type of /** @type {const} */ (["dragenter", "dragover"])) {
  document.addEventListener(type, (event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    root.toggleAttribute("data-dragging", true);
  });
}
document.addEventListener("dragleave", ({ relatedTarget }) => {
  if (relatedTarget === null) root.removeAttribute("data-dragging");
});
document.addEventListener("drop", (event) => {
  root.removeAttribute("data-dragging");
  // Whatever it is: the browser must not leave the page for it.
  event.preventDefault();
  takeIn(event.dataTransfer, true, event.target);
});

const panelNow = () => (state.room === "generate" ? generate : state.room === "compose" ? compose.panel : null);
setUpKeys({
  " ": () => void (panelNow()?.toggle() ?? score.walk()),
  ".": () => void panelNow()?.step(),
  n: () => void panelNow()?.newSeed(),
  1: () => goTo("generate"),
  2: () => goTo("compose"),
  3: () => goTo("score"),
});
setUpTheme(() => {
  generate.rebuild();
  compose.rebuild();
  score.rebuild();
});

// A hidden page must not heat anybody's lap.
/** @type {RunPanel | null} */
let resting = null;
document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    const panel = panelNow();
    if (panel?.run.phase !== "running") return;
    resting = panel;
    panel.run.pause().catch(fail);
  } else if (resting) {
    const panel = resting;
    resting = null;
    if (panel.run.phase === "paused" && panel === panelNow()) void panel.resume();
  }
});

// For the browser tests, which cannot break a driver.
if (query.has("test")) {
  Object.assign(globalThis, {
    mixwellTest: {
      loseDevice: () => void session.loseDevice()?.catch(fail),
      generated: () => generate.run.frame,
      composed: () => compose.panel.run.frame,
      config: () => panelNow()?.run.config ?? null,
      runPhase: () => panelNow()?.run.phase ?? null,
      scored: () => score.current,
      descents: () => score.descents,
      inpaint: () => ({ image: compose.inpaintPad.image, known: compose.inpaintPad.known }),
      conditions: () => compose.items,
      model: () => model,
      state: () => state,
      report: () => session.report,
      busy: () => session.pending > 0,
    },
  });
}

window.addEventListener("error", (event) => {
  if (event instanceof ErrorEvent && event.error) fail(event.error);
});
window.addEventListener("unhandledrejection", (event) => fail(event.reason));
setState(state);
// From here on the page shows its own cards; early.js may have given up on a slow start already.
root.dataset.started = "yes";
byId("fallback", HTMLDivElement).hidden = true;
byId("stage", HTMLDivElement).hidden = false;
boot();
