/**
 * The page's texts in the chosen language. Loaded from /i18n/zh.json or /i18n/en.json before any
 * page script that imports this module runs; switched in place, without loading the page again, so
 * that a session goes on while somebody changes the language.
 */

/** @typedef {"zh"|"en"} Language */

/** Fires "change" on itself after the language has been switched. */
export const languageChanges = new EventTarget();

/** @type {Record<string, string>} */
let texts = {};

/** @returns {Language} */
export function language() {
  return document.documentElement.dataset.language === "en" ? "en" : "zh";
}

/**
 * The text of `key`, with `{name}` replaced by the parameter of that name. An unknown key is shown
 * as it is, so that a missing text is seen and not hidden.
 * @param {string} key
 * @param {Record<string, string|number>} [parameters]
 */
export function t(key, parameters = {}) {
  const text = texts[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (whole, name) => String(parameters[name] ?? whole));
}

/**
 * The text of an error code; a code that these pages do not know is shown with its number.
 * @param {string} code
 */
export function errorText(code) {
  return texts[`error.${code}`] ?? `${t("error.internal")} (${code})`;
}

/**
 * The name of a site or room: those of a new installation have texts, others only a name.
 * @param {string|null} id
 * @param {string|null} name
 */
export function placeName(id, name) {
  return texts[`place.${id}`] ?? name ?? "";
}

/**
 * @param {Language} wanted
 * @returns {Promise<void>}
 */
async function load(wanted) {
  const response = await fetch(`/i18n/${wanted}.json`);
  if (!response.ok) throw new Error(`texts of ${wanted}: HTTP ${response.status}`);
  texts = await response.json();
}

/** Says the server-rendered texts (data-t) anew. */
function retranslate() {
  for (const element of document.querySelectorAll("[data-t]")) {
    element.textContent = t(/** @type {HTMLElement} */ (element).dataset.t ?? "");
  }
  for (const element of document.querySelectorAll("[data-t-aria-label]")) {
    element.setAttribute("aria-label", t(element.getAttribute("data-t-aria-label") ?? ""));
  }
}

/**
 * Switches the language everywhere on this page and remembers it for the next ones.
 * @param {Language} wanted
 */
export async function switchLanguage(wanted) {
  await Promise.all([load(wanted), remember(wanted)]);
  document.documentElement.lang = wanted === "zh" ? "zh-CN" : "en";
  document.documentElement.dataset.language = wanted;
  retranslate();
  languageChanges.dispatchEvent(new Event("change"));
}

/** @param {Language} wanted */
async function remember(wanted) {
  await fetch("/api/language", {
    method: "POST",
    headers: { "content-type": "application/json", "x-requested-with": "tingxun" },
    body: JSON.stringify({ language: wanted }),
  });
}

await load(language());
