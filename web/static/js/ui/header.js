/** What the header does on every page: the language switch and signing out. */

import { request } from "../http.js";
import { language, switchLanguage } from "../texts.js";

/**
 * Makes the language buttons inside `root` work and keeps their pressed state.
 * @param {ParentNode} root
 */
export function wireLanguages(root) {
  const buttons = /** @type {NodeListOf<HTMLButtonElement>} */ (
    root.querySelectorAll(".languages button")
  );
  for (const button of buttons) {
    button.addEventListener("click", async () => {
      await switchLanguage(button.dataset.language === "en" ? "en" : "zh");
      for (const other of buttons) {
        other.setAttribute("aria-pressed", String(other.dataset.language === language()));
      }
    });
  }
}

/** Signs out and goes to the sign-in page. */
async function signOut() {
  await request("/api/sign-out", { method: "POST" });
  location.assign("/sign-in");
}

/** Called once by each page that has the header of the layout. */
export function startHeader() {
  wireLanguages(document);
  document.getElementById("sign-out")?.addEventListener("click", signOut);
}
