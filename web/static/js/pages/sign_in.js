/** The sign-in page: name and password, then on to where the person wanted to go. */

import { codeOf, request } from "../http.js";
import { errorText, languageChanges, t } from "../texts.js";
import { startHeader } from "../ui/header.js";

const form = /** @type {HTMLFormElement} */ (document.querySelector("form#sign-in"));
const place = /** @type {HTMLElement} */ (document.getElementById("sign-in-problem"));
const button = /** @type {HTMLButtonElement} */ (form.querySelector("button"));

/** @type {() => string} */
let problem = () => "";

function showProblem() {
  const text = problem();
  place.textContent = text;
  place.className = text ? "notice problem" : "";
}

/** The page that was asked for before signing in, if it is one of ours. */
function destination() {
  const wanted = new URLSearchParams(location.search).get("to") ?? "/";
  return /^\/(?![/\\])/.test(wanted) ? wanted : "/";
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const fields = new FormData(form);
  const name = String(fields.get("name") ?? "").trim();
  const password = String(fields.get("password") ?? "");
  if (!name || !password) {
    problem = () => t("sign_in.missing");
    showProblem();
    return;
  }
  button.disabled = true;
  try {
    await request("/api/sign-in", { body: { name, password } });
    location.assign(destination());
  } catch (cause) {
    const code = codeOf(cause);
    problem = () => errorText(code);
    showProblem();
    button.disabled = false;
    /** @type {HTMLInputElement} */ (form.elements.namedItem("password")).select();
  }
});

languageChanges.addEventListener("change", showProblem);
startHeader();
