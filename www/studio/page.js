// The page of the Studio: Generate, Compose and Score. Its text is in page.html, beside this file.

/** @type {import("../ui/page.js").Page} */
export default {
  file: "studio.html",
  links: [
    { text: "Generate", href: "./studio.html#generate", part: "generate" },
    { text: "Compose", href: "./studio.html#compose", part: "compose" },
    { text: "Score", href: "./studio.html#score", part: "score" },
  ],
  title: "the studio",
  description: "Energy-based models in the browser: generate images, compose conditions, fill in parts, and see how typical an image is. Computed on your machine.",
  bodyClass: "studio",
  styles: ["image/image.css"],
  skip: { to: "rooms", text: "Skip to the room" },
  computed: "The images are computed on your own machine, by WebAssembly in a worker.",
  footer: "Everything is computed on your machine. Nothing you do here, and no image, is sent anywhere.",
  keys: [
    ["<kbd>Space</kbd>", "Generate, pause or continue (in Score: descend)"],
    ["<kbd>.</kbd>", "One step"],
    ["<kbd>n</kbd>", "New seed"],
    ["<kbd>1</kbd> <kbd>2</kbd> <kbd>3</kbd>", "Generate, Compose, Score"],
    ["arrows, <kbd>Enter</kbd>", "Move in the grid, choose a sample"],
    ["<kbd>Ctrl</kbd> <kbd>V</kbd>", "Paste an image (Compose, Score)"],
    ["<kbd>?</kbd>", "This list"],
  ],
  keysHint: "Shortcuts are off while you type in a field. The address always holds the whole setup, except images.",
};
