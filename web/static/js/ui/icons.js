/** Icons of the controls; each is drawn beside its label and hidden from screen readers. */

import { svg } from "/vendor/lit-html/lit-html.js";

/** @param {unknown} shape */
const icon = (shape) => svg`<svg viewBox="0 0 24 24" aria-hidden="true" fill="none"
  stroke="currentColor" stroke-width="2" stroke-linecap="round" stroke-linejoin="round">${shape}</svg>`;

const MICROPHONE = svg`<rect x="9" y="3" width="6" height="11" rx="3"/>
  <path d="M5 11a7 7 0 0 0 14 0M12 18v3"/>`;
const CAMERA = svg`<rect x="3" y="6" width="12" height="12" rx="2"/><path d="M15 11l6-4v10l-6-4z"/>`;
const SLASH = svg`<path d="M4 4l16 16"/>`;

export const icons = {
  microphone: () => icon(MICROPHONE),
  microphoneOff: () => icon(svg`${MICROPHONE}${SLASH}`),
  camera: () => icon(CAMERA),
  cameraOff: () => icon(svg`${CAMERA}${SLASH}`),
  screen: () => icon(svg`<rect x="3" y="4" width="18" height="12" rx="2"/><path d="M8 20h8M12 16v4"/>`),
  marker: () => icon(svg`<path d="M6 21V4h12l-3 4.5L18 13H6"/>`),
  enlarge: () => icon(svg`<path d="M14 4h6v6M10 20H4v-6M20 4l-7 7M4 20l7-7"/>`),
  play: () => icon(svg`<path d="M7 4l13 8-13 8z" fill="currentColor"/>`),
  pause: () => icon(svg`<path d="M8 5v14M16 5v14" stroke-width="4"/>`),
  sound: () => icon(svg`<path d="M4 10v4h4l5 4V6L8 10zM17 9a4 4 0 0 1 0 6M19.500 6.500a8 8 0 0 1 0 11"/>`),
  soundOff: () => icon(svg`<path d="M4 10v4h4l5 4V6L8 10zM17 9l5 6M22 9l-5 6"/>`),
};
