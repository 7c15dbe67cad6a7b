/** Requests to the server's HTTP interface, with its problems turned into one kind of error. */

/** A refusal by the server (its stable code) or no answer at all (code "network"). */
export class RequestError extends Error {
  /**
   * @param {string} code
   * @param {number} status 0 when there was no answer
   * @param {string} detail
   */
  constructor(code, status, detail) {
    super(detail || code);
    this.code = code;
    this.status = status;
  }
}

/**
 * Asks for `path` and gives the JSON of the answer. A body makes it a POST.
 * @param {string} path
 * @param {{method?: string, body?: unknown, signal?: AbortSignal}} [options]
 * @returns {Promise<any>}
 * @throws {RequestError}
 */
export async function request(path, options = {}) {
  const method = options.method ?? (options.body === undefined ? "GET" : "POST");
  /** @type {Record<string, string>} */
  const headers = { accept: "application/json", "x-requested-with": "tingxun" };
  if (options.body !== undefined) headers["content-type"] = "application/json";
  let response;
  try {
    response = await fetch(path, {
      method,
      headers,
      signal: options.signal,
      body: options.body === undefined ? undefined : JSON.stringify(options.body),
    });
  } catch (cause) {
    if (options.signal?.aborted) throw cause;
    throw new RequestError("network", 0, String(cause));
  }
  const answer = await response.json().catch(() => null);
  if (!response.ok) {
    throw new RequestError(answer?.code ?? "internal", response.status, answer?.detail ?? "");
  }
  return answer;
}

/**
 * The stable code of anything that was thrown.
 * @param {unknown} cause
 */
export function codeOf(cause) {
  return cause instanceof RequestError ? cause.code : "internal";
}

/**
 * What the server says of a field that it does not take; nothing for any other error.
 * @param {unknown} cause
 */
export function detailOf(cause) {
  return cause instanceof RequestError && cause.code === "field_invalid" ? cause.message : "";
}
