// Composes a page from the shared shell (shell.html) and the room's own page.js and page.html.
// Runs in the build, not in the browser.

/**
 * What a room defines for its page.
 * @typedef {object} Page
 * @property {string} file in the root of the site
 * @property {{ text: string, href: string, part?: string }[]} links to it in the navigation; part: shown within the page, without a reload
 * @property {string} title after "mixwell – "
 * @property {string} description
 * @property {string} bodyClass
 * @property {string[]} styles besides the shell's, as paths in www/
 * @property {{ to: string, text: string }} skip the link past the navigation, to an element that takes the focus
 * @property {string} computed what is computed where, for visitors without scripts
 * @property {string} [readable] the part of the page that can be read without scripts
 * @property {string} footer
 * @property {[keys: string, what: string][]} keys
 * @property {string} keysHint
 */

/** The parts of a page.html, each after a comment with its name. */
const PARTS = ["intro", "stage", "after", "dialogs"];

/**
 * HTML with its includes: a line such as <!-- include studio/transport.html id="g" verb="Generate" -->
 * stands for that file, its slots filled with the values.
 * @param {string} html
 * @param {(path: string) => string} read a path in www/
 * @returns {string}
 */
export function included(html, read) {
  return html.replace(/^( *)<!-- include (\S+)((?: [\w-]+="[^"]*")*) -->$/gm, (_, indent, path, values) => {
    const slots = Object.fromEntries([...values.matchAll(/([\w-]+)="([^"]*)"/g)].map(([, name, value]) => [name, value]));
    return indented(filled(included(read(path), read), slots, path).trimEnd(), indent);
  });
}

/**
 * @param {string} html of a page.html
 * @param {string} where it is
 * @returns {Record<string, string>} every part, empty where the room has none
 */
export function partsOf(html, where) {
  /** @type {Record<string, string>} */
  const parts = Object.fromEntries(PARTS.map((name) => [name, ""]));
  const pieces = html.split(/^<!-- (\w+) -->\n/m);
  if (pieces[0]?.trim() !== "") throw new Error(`${where} should begin with a part, such as <!-- intro -->, not with “${pieces[0]?.trim().slice(0, 40)}”.`);
  for (let at = 1; at < pieces.length; at += 2) {
    const name = pieces[at] ?? "";
    if (!PARTS.includes(name)) throw new Error(`${where} has a part “${name}”; expected are ${PARTS.join(", ")}.`);
    parts[name] = (pieces[at + 1] ?? "").trimEnd();
  }
  return parts;
}

/**
 * @param {string} shell the text of shell.html
 * @param {Page} page
 * @param {Page[]} all in the order of the navigation
 * @param {Record<string, string>} parts of the page's own HTML
 * @param {{ scripts: string[], styles: string[] }} built files beside the page: the script, then what it imports; the style sheets
 */
export function composed(shell, page, all, parts, { scripts: [entry = "", ...chunks], styles }) {
  return filled(
    shell,
    {
      title: page.title,
      description: page.description,
      styles: styles.map((name) => `<link rel="stylesheet" href="./${name}" />`).join("\n"),
      // Preloads the script's imports, instead of waiting for the script.
      scripts: [`<script type="module" src="./${entry}"></script>`, ...chunks.map((name) => `<link rel="modulepreload" href="./${name}" />`)].join("\n"),
      body: page.bodyClass === "" ? "" : ` class="${page.bodyClass}"`,
      "skip-to": page.skip.to,
      "skip-text": page.skip.text,
      rooms: all.flatMap((other) => other.links.map(({ text, href, part }, index) => `<a href="${href}"${other === page && part ? ` data-room="${part}"` : ""}${other === page && index === 0 ? ' aria-current="page"' : ""}>${text}</a>`)).join(""),
      computed: page.computed,
      readable: page.readable ?? "explanations",
      footer: page.footer,
      keys: page.keys.map(([keys, what]) => `<tr><th scope="row">${keys}</th><td>${what}</td></tr>`).join("\n"),
      "keys-hint": page.keysHint,
      ...parts,
    },
    "The shell",
  ).replace(/\n{3,}/g, "\n\n");
}

/**
 * @param {string} template with slots, {{so}}; the text of a slot that is alone on its line gets the line's indent
 * @param {Record<string, string>} slots
 * @param {string} what the template is, for error messages
 */
function filled(template, slots, what) {
  const left = new Set(Object.keys(slots));
  const text = template.replace(/^( *)\{\{([\w-]+)\}\}\n|\{\{([\w-]+)\}\}/gm, (_, indent, alone, within) => {
    const name = alone ?? within;
    const value = slots[name];
    if (value === undefined) throw new Error(`${what} has a slot {{${name}}} that nothing fills.`);
    left.delete(name);
    if (alone === undefined) return value;
    return value === "" ? "" : `${indented(value, indent)}\n`;
  });
  if (left.size > 0) throw new Error(`${what} has no slot for ${[...left].join(", ")}.`);
  return text;
}

/** @param {string} text @param {string} indent */
function indented(text, indent) {
  return text.replace(/^(?=.)/gm, indent);
}
