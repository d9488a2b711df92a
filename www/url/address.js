// The whole state of a room as the address's hash, so that a link shows what its sender saw. A room
// declares a table of fields; this file reads and writes them. Nothing here touches the document.

/** @import { Setting } from "../contract/generated/types.js" */

/** The numbers that a setting accepts; `least` itself is excluded where `open`. @typedef {{ least: number, most: number, whole: boolean, open?: boolean }} Range */

/** @param {number} least @param {number} most @returns {Range} */
export const whole = (least, most) => ({ least, most, whole: true });
/** @param {number} least @param {number} most @returns {Range} */
export const real = (least, most) => ({ least, most, whole: false });

/**
 * The numbers that a setting of the crate accepts.
 * @param {Setting} setting
 * @returns {Range}
 */
export function rangeOf(setting) {
  if (setting.kind === "flag") throw new Error(`“${setting.name}” is a switch and has no range`);
  return { least: setting.min, most: setting.max, whole: setting.kind === "count", open: setting.kind === "number" && setting.open };
}

/** A folder under models/, as an address may name it. */
export const MODEL_NAME = /^[a-z0-9][a-z0-9._-]{0,63}$/;

/**
 * @param {Range} range
 * @param {string} text
 * @returns {number | undefined} undefined: the text is no such number
 */
export function inRange(range, text) {
  // Number() reads "", " " and "0x10" as numbers; an address should not.
  if (!/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text)) return undefined;
  const value = Number(text);
  const low = range.open ? value <= range.least : value < range.least;
  if (!Number.isFinite(value) || low || value > range.most || (range.whole && !Number.isInteger(value))) return undefined;
  return value;
}

/**
 * What a range accepts, in words.
 * @param {Range} range
 * @param {string} [empty] the word for null, where there may be none
 */
export function wording({ least, most, whole: integers, open }, empty) {
  const [from, to] = [least, most].map((bound) => bound.toLocaleString("en", { maximumFractionDigits: 10 }));
  return `${empty ? `${empty}, or ` : ""}a ${integers ? "whole " : ""}number ${open ? `above ${from}, up to` : `from ${from} to`} ${to}`;
}

/**
 * How one key of the address is read and written.
 * @template State
 * @typedef {object} Field
 * @property {(state: State) => string | null} write null: this state has no such thing; "": the key stands alone
 * @property {(state: State, text: string) => string | null} read null when taken, else what was expected
 */

/**
 * @template State
 * @param {Range} range
 * @param {(state: State) => number | null | undefined} get undefined: this state has no such thing
 * @param {(state: State, value: any) => void} set
 * @param {string} [empty] the word for null, where the setting may be null
 * @returns {Field<State>}
 */
export function number(range, get, set, empty) {
  return {
    write: (state) => {
      const value = get(state);
      return value === undefined ? null : String(value ?? empty);
    },
    read: (state, text) => {
      const value = empty !== undefined && text === empty ? null : inRange(range, text);
      if (value === undefined) return wording(range, empty);
      set(state, value);
      return null;
    },
  };
}

/**
 * @template State
 * @param {readonly string[]} names
 * @param {(state: State) => string | null | undefined} get
 * @param {(state: State, name: any) => void} set
 * @param {string} [expected]
 * @returns {Field<State>}
 */
export function choice(names, get, set, expected = `one of ${names.join(", ")}`) {
  return {
    write: (state) => get(state) ?? null,
    read: (state, text) => {
      if (!names.includes(text)) return expected;
      set(state, text);
      return null;
    },
  };
}

/**
 * @template State
 * @param {(state: State) => boolean | undefined} get
 * @param {(state: State, on: boolean) => void} set
 * @returns {Field<State>}
 */
export function flag(get, set) {
  return choice(
    ["on", "off"],
    (state) => {
      const on = get(state);
      return on === undefined ? null : on ? "on" : "off";
    },
    (state, text) => set(state, text === "on"),
    "on or off",
  );
}

/**
 * @template State
 * @param {RegExp} pattern
 * @param {string} expected
 * @param {(state: State) => string | null} get
 * @param {(state: State, text: string) => void} set
 * @returns {Field<State>}
 */
export function pattern(pattern, expected, get, set) {
  return {
    write: get,
    read: (state, text) => {
      if (!pattern.test(text)) return expected;
      set(state, text);
      return null;
    },
  };
}

/**
 * The address of one page.
 * @template {object} State
 * @template {string} [Room=never]
 */
export class Address {
  #fields;
  #defaults;
  #rooms;
  #brief;
  #settle;

  /**
   * @param {object} table
   * @param {Record<string, Field<State>>} table.fields read in this order, whatever order the address has
   * @param {() => State} table.defaults
   * @param {readonly Room[]} [table.rooms] one of which may stand first, without a value; the state then has a `room`
   * @param {boolean} [table.brief] whether only what differs from the defaults is written
   * @param {(state: State, given: ReadonlySet<string>) => string[]} [table.settle] makes the fields agree with each other; what it had to change, in words
   */
  constructor({ fields, defaults, rooms = [], brief = false, settle = () => [] }) {
    this.#fields = fields;
    this.#defaults = defaults;
    this.#rooms = rooms;
    this.#brief = brief;
    this.#settle = settle;
  }

  /** @param {State} state @returns {string} starts with "#" */
  format(state) {
    const base = this.#brief ? this.#defaults() : null;
    const pairs = this.#rooms.length > 0 && "room" in state ? [String(state.room)] : [];
    for (const [key, field] of Object.entries(this.#fields)) {
      const text = field.write(state);
      if (text === null) continue;
      if (base) {
        if (text === field.write(base)) continue;
        // Reading one key may set others (a lesson its preset, a sampler its defaults), so the rest is
        // compared with what a reader would have by then.
        field.read(base, text);
      }
      pairs.push(text === "" ? key : `${key}=${encodeURIComponent(text).replaceAll("%2C", ",")}`);
    }
    return `#${pairs.join("&")}`;
  }

  /**
   * The room, when an address names nothing else: then all else stays as it is.
   * @param {string} hash with or without "#"
   * @returns {Room | null}
   */
  bareRoom(hash) {
    const name = hash.replace(/^#/, "");
    return this.#rooms.find((room) => room === name) ?? null;
  }

  /**
   * Reads as much of an address as makes sense. The rest keeps its default and is named.
   * @param {string} hash with or without "#"
   * @returns {{ state: State, problems: string[] }} problems in the order of the address
   */
  parse(hash) {
    const state = this.#defaults();
    /** @type {{ at: number, text: string }[]} */
    const problems = [];
    /** @type {Map<string, { at: number, raw: string }>} */
    const given = new Map();
    for (const [at, pair] of hash.replace(/^#/, "").split("&").entries()) {
      if (pair === "") continue;
      const room = at === 0 ? this.#rooms.find((name) => name === pair) : undefined;
      if (room) {
        Object.assign(state, { room });
        continue;
      }
      const equals = pair.indexOf("=");
      const key = equals < 0 ? pair : pair.slice(0, equals);
      if (!Object.hasOwn(this.#fields, key)) {
        problems.push({ at, text: at === 0 && equals < 0 && this.#rooms.length > 0 ? `there is no room “${shorten(key)}”` : `“${shorten(key)}” is not a setting` });
      } else if (given.has(key)) {
        problems.push({ at, text: `“${key}” is given twice; the first counts` });
      } else {
        given.set(key, { at, raw: equals < 0 ? "" : pair.slice(equals + 1) });
      }
    }
    for (const [key, field] of Object.entries(this.#fields)) {
      const found = given.get(key);
      if (!found) continue;
      const text = decode(found.raw);
      const expected = text === null ? "text that can be decoded" : field.read(state, text);
      if (expected) problems.push({ at: found.at, text: `“${key}” should be ${expected}, not “${shorten(text ?? found.raw)}”` });
    }
    problems.sort((a, b) => a.at - b.at);
    return { state, problems: [...problems.map(({ text }) => text), ...this.#settle(state, new Set(given.keys()))] };
  }
}

/** @param {string} text */
function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return null;
  }
}

/** @param {string} text */
function shorten(text) {
  return text.length > 24 ? `${text.slice(0, 24)}…` : text;
}
