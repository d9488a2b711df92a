// Starts the page and connects the address, the worker, the settings and the race.

import { Failure, toError } from "../engine/failure.js";
import { consent, showIncoming } from "../model/consent.js";
import { announce, hideCard, notice, showError, showWaiting, tellRuntime as showRuntime } from "../ui/cards.js";
import { byId, copyWith, icon, setText } from "../ui/dom.js";
import { WORDS } from "../ui/errors.js";
import { megabytes } from "../ui/format.js";
import { setUpKeys } from "../ui/keys.js";
import { askedRuntime, offerToTests, randomSeed, readAddress, reportErrors, restWhenHidden, takeOver, toggleSettings, writeAddress } from "../ui/shell.js";
import { setUpTheme } from "../ui/theme.js";
import { Client } from "./client.js";
import { Controls } from "./form.js";
import { showModel } from "./model.js";
import { Race } from "./race.js";
import { PACES } from "./settings.js";
import { address, defaultState, racing } from "./url.js";

/** @import { Manifest, ManifestModel } from "../contract/models.js" */
/** @import { Frame, ModelInfo, Reply } from "../contract/race.js" */
/** @import { DeviceReport } from "../contract/session.js" */
/** @import { Way } from "../ui/errors.js" */
/** @import { PageState } from "./url.js" */

const play = byId("play", HTMLButtonElement);
const stepButton = byId("step", HTMLButtonElement);
const resetButton = byId("reset", HTMLButtonElement);
const seedButton = byId("new-seed", HTMLButtonElement);

/** @type {"loading" | "ready" | "running" | "failed"} */
let phase = "loading";
/** Loading, configuring and resetting run one after another. The newest request wins. */
let attempt = 0;
let choice = askedRuntime;
/** @type {Client | null} */
let client = null;
/** @type {DeviceReport | null} */
let report = null;
/** @type {Manifest | null} */
let manifest = null;
/** @type {string[]} */
let cached = [];
/** @type {{ usage: number, quota: number } | null} storage that the browser allows this site */
let storage = null;
/** @type {ModelInfo | null} */
let info = null;
/** The model that the worker holds, by name. */
let loadedName = "";
/** Frames of earlier requests belong to an older race. */
let firstId = 0;
/** @type {((file: string, loaded: number, total: number) => void) | null} */
let onProgress = null;
/** @type {Frame | null} */
let lastFrame = null;

let state = readAddress(address);
const race = new Race({
  onFollow: (chain) => look({ chain }),
  onTraced: (traced) => look({ traced }),
});
const controls = new Controls({ onChange: (next) => change(next), onPace: (pace) => setPace(pace) });

/** @param {typeof phase} next */
function setPhase(next) {
  phase = next;
  document.documentElement.dataset.phase = next;
  const on = next === "ready" || next === "running";
  // The settings stay usable: changing them may resolve the failure.
  for (const part of document.querySelectorAll("#race > :not(.settings)")) part.toggleAttribute("inert", !on);
  for (const button of [play, stepButton, resetButton, seedButton]) button.disabled = !on;
  const [name, label] = next === "running" ? ["pause", "Pause"] : ["play", "Play"];
  if (play.textContent !== label) {
    const text = document.createElement("span");
    text.textContent = label;
    play.replaceChildren(icon(name), text);
  }
}

/** @param {PageState} next */
function setState(next) {
  state = next;
  writeAddress(address.format(state));
  controls.show(state);
}

/** Starts the engine and sets up a race. Also used after every failure. */
async function boot() {
  const mine = ++attempt;
  setPhase("loading");
  try {
    showWaiting("Checking this device", "Is WebGPU available, and is it sufficient for the model?");
    if (!client || client.dead) client = new Client({ event: onEvent, failed: (error) => fail(error) });
    loadedName = "";
    report = (await client.request({ type: "check", choice }, "checked")).report;
    if (mine !== attempt) return;
    tellRuntime(report);
    const listed = await client.request({ type: "list" }, "listed");
    if (mine !== attempt) return;
    ({ cached, quota: storage } = listed);
    manifest = racing(listed.manifest);
    await prepare(mine);
  } catch (error) {
    if (mine === attempt) fail(error);
  }
}

/** @param {DeviceReport} found */
function tellRuntime(found) {
  report = found;
  showRuntime(found);
}

/** Loads the model named in the state, unless it is loaded already, then sets up the race. @param {number} mine */
async function prepare(mine) {
  if (!client || !manifest) return;
  const wanted = manifest.models.find(({ name }) => name === state.config.model);
  const model = wanted ?? manifest.models[0];
  if (!model) throw new Failure("bad-model", "None of the available models can be sampled in both spaces.");
  if (!wanted) {
    notice("model", "This model is not available.", `“${state.config.model}” is not in the list, so ${model.title} is shown.`);
    setState({ ...state, config: { ...state.config, model: model.name } });
  }
  controls.models(manifest, cached);
  if (loadedName !== model.name) await load(model, mine);
  if (mine === attempt) await configure(mine);
}

/** @param {ManifestModel} model @param {number} mine */
async function load(model, mine) {
  if (!client) return;
  setPhase("loading");
  const bytes = model.files.reduce((sum, file) => sum + file.bytes, 0);
  const known = cached.includes(model.name);
  if (!known) await consent(model.title, bytes);
  if (mine !== attempt) return;
  onProgress = showIncoming(model.title, bytes, known, () => client?.send({ type: "abort" }));
  const loaded = await client.request({ type: "load", model: model.name }, "loaded");
  onProgress = null;
  loadedName = model.name;
  info = loaded.info;
  cached = loaded.cached ? [...new Set([...cached, model.name])] : cached.filter((name) => name !== model.name);
  if (manifest) controls.models(manifest, cached);
  tellRuntime(loaded.report);
  showModelInfo(model, loaded.cached);
}

/** @param {ManifestModel} model @param {boolean} kept */
function showModelInfo(model, kept) {
  if (!info || !report) return;
  const forget = async () => {
    await client?.request({ type: "forget", model: model.name }, "forgotten");
    cached = cached.filter((name) => name !== model.name);
    if (manifest) controls.models(manifest, cached);
    showModelInfo(model, false);
    announce(`The stored copy of ${model.title} was deleted.`);
  };
  showModel({ info, files: model, report, cached: kept, forget });
}

/** @param {number} mine */
async function configure(mine) {
  if (!client || !info) return;
  const { config } = state;
  const { race: accepted } = await client.request({ type: "configure", config }, "configured");
  if (mine !== attempt) return;
  // The settings changed while the model was loading.
  if (state.config !== config) return configure(mine);
  controls.accepted(accepted, state);
  race.start(accepted, state, info.shape);
  firstId = client.next;
  await client.request({ type: "reset", seed: config.seed }, "frame");
  if (mine !== attempt) return;
  if (state.config !== config) return configure(mine);
  hideCard();
  setPhase("ready");
  announce("Ready. Both sides are at the same starting images.");
}

/** New settings: restarts the race, and continues running if it was running. @param {PageState} next */
async function change(next) {
  const wasRunning = phase === "running";
  const sameModel = next.config.model === state.config.model;
  setState(next);
  if (phase === "failed" || !client || !manifest) return boot();
  if (phase === "loading") {
    // The current load reads the newest settings at its end, unless it loads the wrong model.
    if (sameModel) return;
    client.send({ type: "abort" });
  }
  const mine = ++attempt;
  try {
    await pause();
    await prepare(mine);
    if (mine === attempt && wasRunning) await run();
  } catch (error) {
    if (mine === attempt) fail(error);
  }
}

/** Changes the display, not the computation. @param {Partial<Pick<PageState, "chain" | "traced">>} part */
function look(part) {
  setState({ ...state, ...part });
  race.view(state);
}

/** @param {number} pace */
function setPace(pace) {
  setState({ ...state, pace });
  if (phase === "running") run().catch(fail);
}

async function run() {
  if (!client) return;
  setPhase("running");
  await client.request({ type: "run", pace: state.pace }, "running");
  announce("Running.");
}

async function pause() {
  if (!client || phase !== "running") return;
  setPhase("ready");
  await client.request({ type: "pause" }, "paused");
}

function toggle() {
  if (phase === "running") {
    pause()
      .then(() => announce(`Paused. ${race.summary()}.`))
      .catch(fail);
  } else if (phase === "ready") {
    run().catch(fail);
  }
}

let stepping = false;
async function step() {
  // A held key repeats faster than a slow device can step.
  if (stepping) return;
  stepping = true;
  try {
    if (phase === "running") await pause();
    if (!client || phase !== "ready") return;
    await client.request({ type: "step" }, "frame");
    race.settle();
  } finally {
    stepping = false;
  }
}

/** @param {number} seed */
async function reset(seed) {
  if (!client || (phase !== "ready" && phase !== "running")) return;
  const mine = ++attempt;
  const again = phase === "running" && seed !== state.config.seed;
  await pause();
  setState({ ...state, config: { ...state.config, seed } });
  firstId = client.next;
  await client.request({ type: "reset", seed }, "frame");
  if (mine !== attempt) return;
  race.settle();
  announce(`Back at the start, seed ${seed}.`);
  if (again) await run();
}

const newSeed = () => reset(randomSeed());

/** @param {Reply} reply */
function onEvent(reply) {
  switch (reply.type) {
    case "progress":
      onProgress?.(reply.file, reply.loaded, reply.total);
      break;
    case "compiling":
      onProgress = null;
      showWaiting("Preparing the model", report?.runtime === "cpu" ? "The weights are unpacked, then checked against known answers." : "The graphics adapter compiles its shaders and is checked against known answers. The first time takes a few seconds.");
      break;
    case "note":
      notice(reply.kind, `${WORDS[reply.kind].title}.`, reply.kind === "quota" && storage ? `${reply.message} This site uses ${megabytes(storage.usage)} of the ${megabytes(storage.quota)} that the browser allows.` : reply.message);
      break;
    case "recovered":
      tellRuntime(reply.report);
      notice("recovered", "The device is back.", reply.message);
      break;
    case "frame":
      if (reply.id !== 0 && reply.id < firstId) return;
      lastFrame = reply.frame;
      document.documentElement.dataset.clock = String(reply.frame.sides[0]?.gradients ?? 0);
      race.push(reply.frame);
      if (phase !== "running") race.settle();
      break;
  }
}

/** @param {unknown} thrown */
function fail(thrown) {
  onProgress = null;
  attempt += 1;
  setPhase("failed");
  showError(toError(thrown), report, go);
}

/** Actions of the error cards. @param {Way} way */
function go(way) {
  switch (way) {
    case "reload":
      return location.reload();
    case "cpu":
      choice = "cpu";
      break;
    case "defaults":
      setState(defaultState());
      break;
    case "small":
      setState({ ...state, chain: null, config: { ...state.config, chains: 4 } });
      break;
    case "forget":
      return client
        ?.request({ type: "forget", model: state.config.model }, "forgotten")
        .then(boot)
        .catch(fail);
    case "retry":
    case "restart":
      break;
  }
  return boot();
}

play.addEventListener("click", toggle);
stepButton.addEventListener("click", () => step().catch(fail));
resetButton.addEventListener("click", () => reset(state.config.seed).catch(fail));
seedButton.addEventListener("click", () => newSeed().catch(fail));
const copyLink = byId("copy-link", HTMLButtonElement);
copyLink.addEventListener("click", () => copyWith(copyLink, location.href, announce));

/** @param {number} by */
function changePace(by) {
  const index = PACES.indexOf(/** @type {typeof PACES[number]} */ (state.pace)) + by;
  const pace = PACES[index];
  if (pace === undefined) return;
  setPace(pace);
  announce(`${pace} transitions per frame.`);
}

const settings = byId("settings", HTMLDetailsElement);
const stepNow = () => void step().catch(fail);
setUpKeys({
  " ": toggle,
  ".": stepNow,
  ArrowRight: stepNow,
  r: () => void reset(state.config.seed).catch(fail),
  n: () => void newSeed().catch(fail),
  "[": () => changePace(-1),
  "]": () => changePace(1),
  s: () => toggleSettings(settings),
});
setUpTheme(() => race.repaint());

window.addEventListener("hashchange", () => change(readAddress(address)));
restWhenHidden(() => {
  if (phase !== "running") return null;
  pause().catch(fail);
  return () => {
    if (phase === "ready") run().catch(fail);
  };
});
offerToTests({
  loseDevice: () => client?.send({ type: "lose-device" }),
  lastFrame: () => lastFrame,
  report: () => report,
  state: () => state,
});
reportErrors(fail);
takeOver();
setText(byId("clock", HTMLElement), "0");
setState(state);
boot();
