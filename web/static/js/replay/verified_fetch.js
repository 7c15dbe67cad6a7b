/** Files of an archive, fetched and compared with what the ledger says of them before any use. */

/** @typedef {{size: number, sha256: string, file: string}} Described */
/** @typedef {{file: string, expected: string, found: string}} Mismatch */

/**
 * The lower-case hexadecimal SHA-256.
 * @param {ArrayBuffer} bytes
 */
export async function sha256(bytes) {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * @param {string} archiveId
 * @param {Described} described
 * @param {AbortSignal} signal
 * @returns {Promise<{bytes: ArrayBuffer}|{mismatch: Mismatch}>} the bytes only when they are what
 *   the ledger describes
 * @throws {TypeError} when the server cannot be reached; DOMException "AbortError"
 */
export async function fetchVerified(archiveId, described, signal) {
  const path = described.file.split("/").map(encodeURIComponent).join("/");
  const response = await fetch(`/api/archives/${encodeURIComponent(archiveId)}/files/${path}`, { signal });
  if (response.status >= 500 || response.status === 429) throw new TypeError(`HTTP ${response.status}`);
  if (!response.ok) {
    return { mismatch: { file: described.file, expected: described.sha256, found: `HTTP ${response.status}` } };
  }
  const bytes = await response.arrayBuffer();
  const found = await sha256(bytes);
  if (found !== described.sha256 || bytes.byteLength !== described.size) {
    return { mismatch: { file: described.file, expected: described.sha256, found } };
  }
  return { bytes };
}
