// Statistics of chains. Generated from the crate; the names here are those that the page uses.

export type { Summary } from "./generated/types.js";

/** A statistic that is undefined (too few draws, constant or non-finite chains) is null. */
export type Stat = number | null;

/** An answer, with the milliseconds that it took. */
export type Timed<Answer> = Answer & { elapsed_ms: number };
