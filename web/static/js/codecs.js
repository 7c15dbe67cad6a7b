/** The order in which a browser's video codecs are offered. No page, no connection. */

/** @typedef {{mimeType: string, clockRate: number, sdpFmtpLine?: string}} Codec */

/**
 * How good a codec is for us; smaller is better, Infinity is not wanted at all.
 * @param {Codec} codec
 * @param {string[]} names in order of preference
 */
function rank(codec, names) {
  const name = codec.mimeType.split("/")[1];
  const place = names.findIndex((wanted) => wanted.toLowerCase() === name.toLowerCase());
  if (place < 0) return Infinity;
  const format = codec.sdpFmtpLine ?? "";
  if (name.toUpperCase() !== "H264") return place * 10;
  if (!/packetization-mode=1/.test(format)) return Infinity;
  return place * 10 + (/profile-level-id=42e01f/i.test(format) ? 0 : /profile-level-id=42/i.test(format) ? 1 : 2);
}

/**
 * The codecs in the server's order of preference, then retransmission, which is not a codec but must
 * stay in the list. Of H.264 only packetization mode 1, constrained baseline (42e01f) first.
 * @template {Codec} C
 * @param {readonly C[]} codecs
 * @param {string[]} names
 * @returns {C[]}
 */
export function inOrder(codecs, names) {
  const wanted = codecs
    .filter((codec) => rank(codec, names) < Infinity)
    .sort((a, b) => rank(a, names) - rank(b, names));
  return [...wanted, ...codecs.filter(({ mimeType }) => /^video\/rtx$/i.test(mimeType))];
}
