// The rooms, in the order of the navigation. Each is a folder with page.js, page.html and main.js.

import playground from "./playground/page.js";
import prior from "./prior/page.js";
import race from "./race/page.js";
import studio from "./studio/page.js";

/** By the names of their folders. */
export const ROOMS = { race, playground, studio, prior };
