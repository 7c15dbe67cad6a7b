/**
 * What is shown on the evidence display: a screen or window, or an image or video file drawn to a
 * canvas of this page. Either way it becomes one video track.
 */

const WIDTH = 1920;
const HEIGHT = 1080;
const IMAGE_EVERY_MS = 200;
const VIDEO_EVERY_MS = 40;

/** Something shown, with a way to stop it. */
export class Exhibit {
  /**
   * @param {MediaStreamTrack} track
   * @param {string} name file name, or what the browser calls the screen
   * @param {HTMLVideoElement|null} player the video file that plays, for pausing and seeking
   * @param {() => void} release
   */
  constructor(track, name, player, release) {
    this.track = track;
    this.name = name;
    this.player = player;
    this.release = release;
  }

  stop() {
    this.track.stop();
    this.release();
  }
}

/**
 * Asks the person for a screen or window.
 * @returns {Promise<Exhibit|null>} null when they changed their mind
 */
export async function showScreen() {
  try {
    const stream = await navigator.mediaDevices.getDisplayMedia({
      video: { frameRate: { ideal: 15 } }, audio: false,
    });
    const [track] = stream.getVideoTracks();
    return new Exhibit(track, track.label, null, () => {});
  } catch (cause) {
    if (cause instanceof DOMException && cause.name === "NotAllowedError") return null;
    throw cause;
  }
}

/**
 * Draws a picture as large as fits, in the middle of the canvas, on black.
 * @param {CanvasRenderingContext2D} context
 * @param {CanvasImageSource} picture
 * @param {number} width
 * @param {number} height
 */
function drawFitted(context, picture, width, height) {
  context.fillStyle = "black";
  context.fillRect(0, 0, WIDTH, HEIGHT);
  if (!width || !height) return;
  const scale = Math.min(WIDTH / width, HEIGHT / height);
  const [w, h] = [width * scale, height * scale];
  context.drawImage(picture, (WIDTH - w) / 2, (HEIGHT - h) / 2, w, h);
}

/**
 * Shows an image or video file. The canvas is drawn again and again even when nothing changes, so
 * that frames keep coming for whoever joins later and for the recording.
 * @param {File} file
 * @returns {Promise<Exhibit>}
 * @throws {Error} when the browser cannot read the file
 */
export async function showFile(file) {
  const canvas = document.createElement("canvas");
  canvas.width = WIDTH;
  canvas.height = HEIGHT;
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d", { alpha: false }));
  const url = URL.createObjectURL(file);
  const isVideo = file.type.startsWith("video/");
  const picture = isVideo ? document.createElement("video") : new Image();
  try {
    await opened(picture, url);
  } catch (cause) {
    URL.revokeObjectURL(url);
    throw cause;
  }
  const draw = picture instanceof HTMLVideoElement
    ? () => drawFitted(context, picture, picture.videoWidth, picture.videoHeight)
    : () => drawFitted(context, picture, picture.naturalWidth, picture.naturalHeight);
  draw();
  const timer = setInterval(draw, isVideo ? VIDEO_EVERY_MS : IMAGE_EVERY_MS);
  const [track] = canvas.captureStream().getVideoTracks();
  const player = picture instanceof HTMLVideoElement ? picture : null;
  await player?.play();
  return new Exhibit(track, file.name, player, () => {
    clearInterval(timer);
    player?.pause();
    URL.revokeObjectURL(url);
  });
}

/**
 * @param {HTMLVideoElement|HTMLImageElement} picture
 * @param {string} url
 */
async function opened(picture, url) {
  picture.src = url;
  if (picture instanceof HTMLImageElement) {
    await picture.decode();
    return;
  }
  picture.muted = true;
  picture.playsInline = true;
  await new Promise((resolve, reject) => {
    picture.onloadeddata = resolve;
    picture.onerror = () => reject(new Error("the video file cannot be read"));
  });
}
