/**
 * The video and audio elements of received and own tracks. Made once for each track and kept, so
 * that drawing a view anew never interrupts picture or sound.
 */

export class MediaElements {
  /** @type {Map<string, HTMLVideoElement>} */
  #videos = new Map();
  /** @type {Map<string, HTMLAudioElement>} */
  #sounds = new Map();
  /** Whether the browser waits for a touch before it plays sound. */
  blocked = false;

  /** @param {() => void} changed a first picture came, or sound is blocked or free again */
  constructor(changed) {
    this.changed = changed;
  }

  /**
   * The picture of a track. `key` names the place (the track id, or "self").
   * @param {string} key
   * @param {MediaStreamTrack} track
   */
  video(key, track) {
    let video = this.#videos.get(key);
    if (!video) {
      video = document.createElement("video");
      video.autoplay = true;
      video.muted = true;
      video.playsInline = true;
      video.dataset.trackId = key;
      video.addEventListener("loadeddata", this.changed);
      this.#videos.set(key, video);
    }
    attach(video, track);
    return video;
  }

  /** Whether a picture of this track has come. @param {string} key */
  hasPicture(key) {
    return (this.#videos.get(key)?.readyState ?? 0) >= HTMLMediaElement.HAVE_CURRENT_DATA;
  }

  /** The element of a picture while it is on the page. @param {string} key */
  shown(key) {
    const video = this.#videos.get(key);
    return video?.isConnected ? video : null;
  }

  /**
   * Plays exactly these sounds.
   * @param {{key: string, track: MediaStreamTrack}[]} sounds
   */
  hear(sounds) {
    const wanted = new Set(sounds.map(({ key }) => key));
    for (const [key, audio] of this.#sounds) {
      if (wanted.has(key)) continue;
      audio.srcObject = null;
      audio.remove();
      this.#sounds.delete(key);
    }
    for (const { key, track } of sounds) {
      let audio = this.#sounds.get(key);
      if (!audio) {
        audio = document.createElement("audio");
        audio.dataset.trackId = key;
        this.#sounds.set(key, audio);
        document.body.append(audio);
      }
      if (attach(audio, track)) this.#play(audio);
    }
  }

  /** Plays what was blocked; called from a touch. */
  unblock() {
    this.blocked = false;
    for (const audio of this.#sounds.values()) this.#play(audio);
    this.changed();
  }

  /**
   * Plays the pictures that are on the page: a video stops by itself when it is taken off the page
   * (camera off, evidence withdrawn) and does not go on by itself when it comes back.
   */
  playShown() {
    for (const video of this.#videos.values()) {
      if (video.isConnected && video.paused) video.play().catch(() => {});
    }
  }

  /** Lets go of every picture and sound. */
  clear() {
    this.hear([]);
    for (const video of this.#videos.values()) video.srcObject = null;
    this.#videos.clear();
  }

  /** @param {HTMLAudioElement} audio */
  #play(audio) {
    audio.play().catch((cause) => {
      if (!(cause instanceof DOMException) || cause.name !== "NotAllowedError") return;
      this.blocked = true;
      this.changed();
    });
  }
}

/**
 * @param {HTMLMediaElement} element
 * @param {MediaStreamTrack} track
 * @returns {boolean} whether the element shows another track than before
 */
function attach(element, track) {
  const shown = element.srcObject instanceof MediaStream ? element.srcObject.getTracks()[0] : null;
  if (shown === track) return false;
  element.srcObject = new MediaStream([track]);
  return true;
}
