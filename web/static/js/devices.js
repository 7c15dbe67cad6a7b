/** Cameras and microphones of this computer: opening, listing, remembering the choice. */

/** @typedef {"camera"|"microphone"} Device */
/** @typedef {"permission"|"missing"|"busy"} DeviceProblem */

/** @type {Record<Device, MediaDeviceKind>} */
const KINDS = { camera: "videoinput", microphone: "audioinput" };

/** @param {Device} device */
const remembered = (device) => localStorage.getItem(`tingxun.${device}`) ?? "";

/**
 * @param {Device} device
 * @param {string} deviceId
 * @returns {MediaStreamConstraints}
 */
function constraints(device, deviceId) {
  const chosen = deviceId ? { deviceId: { exact: deviceId } } : {};
  return device === "camera"
    ? { video: { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 25 }, ...chosen } }
    : { audio: { echoCancellation: true, noiseSuppression: true, autoGainControl: true, ...chosen } };
}

/**
 * Why a device could not be opened, in three kinds that a person can do something about.
 * @param {unknown} cause
 * @returns {DeviceProblem}
 */
function problemOf(cause) {
  const name = cause instanceof DOMException ? cause.name : "";
  if (name === "NotAllowedError" || name === "SecurityError") return "permission";
  return name === "NotReadableError" || name === "AbortError" ? "busy" : "missing";
}

/**
 * Opens the chosen device, or the one used last time, or any.
 * @param {Device} device
 * @param {string} [deviceId]
 * @returns {Promise<{track: MediaStreamTrack|null, problem: DeviceProblem|null}>}
 */
export async function openDevice(device, deviceId) {
  if (!navigator.mediaDevices) return { track: null, problem: "permission" };
  const wanted = deviceId ?? remembered(device);
  for (const id of new Set([wanted, ""])) {
    try {
      const stream = await navigator.mediaDevices.getUserMedia(constraints(device, id));
      const [track] = stream.getTracks();
      if (deviceId !== undefined) localStorage.setItem(`tingxun.${device}`, deviceId);
      return { track, problem: null };
    } catch (cause) {
      if (id === "") return { track: null, problem: problemOf(cause) };
    }
  }
  return { track: null, problem: "missing" };
}

/**
 * The devices of a kind; names are known only after one of them has been opened.
 * @param {Device} device
 * @returns {Promise<{id: string, name: string}[]>}
 */
export async function listDevices(device) {
  const all = await navigator.mediaDevices?.enumerateDevices() ?? [];
  return all.filter(({ kind, deviceId }) => kind === KINDS[device] && deviceId)
    .map(({ deviceId, label }) => ({ id: deviceId, name: label }));
}

/** Watches how loud a microphone is. */
export class Level {
  /** @type {AudioContext|null} */
  #context = null;
  /** @type {any} */
  #timer = null;

  /**
   * @param {MediaStreamTrack} track
   * @param {(level: number) => void} heard from 0 (silence) to 1, about 15 times a second
   */
  constructor(track, heard) {
    const context = new AudioContext();
    this.#context = context;
    const analyser = context.createAnalyser();
    analyser.fftSize = 1024;
    context.createMediaStreamSource(new MediaStream([track])).connect(analyser);
    const samples = new Float32Array(analyser.fftSize);
    this.#timer = setInterval(() => {
      // A page may start its audio only after a first touch; until then this asks again.
      if (context.state === "suspended") context.resume();
      analyser.getFloatTimeDomainData(samples);
      let sum = 0;
      for (const sample of samples) sum += sample * sample;
      const decibels = 10 * Math.log10(sum / samples.length + 1e-9);
      heard(Math.min(1, Math.max(0, (decibels + 60) / 54)));
    }, 66);
  }

  stop() {
    clearInterval(this.#timer);
    this.#context?.close();
    this.#context = null;
  }
}
