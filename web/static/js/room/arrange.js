/**
 * Where everything on the stage stands, in pixels. Pure: the same people in the same window always
 * stand in the same places, whoever is present, so that faces keep their seats.
 */

/** @typedef {"stage"|"grid"|"evidence"} Mode */
/** @typedef {"large"|"medium"|"small"|"tiny"} Size how much a tile can say beside its picture */
/** @typedef {{x: number, y: number, width: number, height: number}} Area */
/** @typedef {Area & {size: Size}} Place */

/**
 * What is to be arranged.
 * @typedef {object} Scene
 * @property {number} width of the stage
 * @property {number} height
 * @property {number} rem the size of text, in pixels
 * @property {Mode} mode
 * @property {string[]} seats everybody who has one, in order
 * @property {string[]} large who is on the stage: nobody, one or two
 * @property {boolean} alternatives whether somebody else could be: seats then stay where they are
 * @property {boolean} showing whether there is something on the evidence display
 * @property {boolean} kiosk
 */

const GAP_REM = 0.75;
const NARROW_REM = 0.5;
/** Height of the plate below a picture, by the size of the tile. */
const PLATE_REM = { large: 3.9, medium: 3.4, small: 3, tiny: 1.75 };
const TINY_BELOW_REM = 8;
const SMALL_BELOW_REM = 16;
/** A seat in a strip is not narrower than this, or the strip has two rows. */
const LEAST_REM = 6;
/** So many seats stand in the column beside the stage, more in a strip below it. */
const FEW = 4;
const JOURNAL_REM = 4.5;
const OBSERVERS_REM = 1.7;

/** @param {string} id the key of the place that somebody on the stage has left */
export const emptySeat = (id) => `empty ${id}`;

/**
 * Keys: participant ids, `emptySeat(id)`, "evidence", "wide" (a second picture of who is on the
 * stage), "side" (who observes, and the journal). What has no place is not shown.
 * @param {Scene} scene
 * @returns {Map<string, Place>}
 */
export function arrange(scene) {
  const stage = new Arrangement(scene);
  if (scene.width < scene.height) stage.portrait();
  else stage.landscape();
  return stage.places;
}

class Arrangement {
  /** @type {Map<string, Place>} */
  places = new Map();

  /** @param {Scene} scene */
  constructor(scene) {
    this.scene = scene;
    this.gap = GAP_REM * scene.rem;
    this.few = scene.seats.length <= FEW;
    this.large = scene.mode === "grid" ? [] : scene.large.slice(0, scene.mode === "evidence" ? 1 : 2);
    /** Who stands at their seat, or leaves it empty. */
    this.seated = scene.alternatives ? scene.seats : scene.seats.filter((id) => !this.large.includes(id));
    this.sideLeast = (scene.kiosk ? OBSERVERS_REM : JOURNAL_REM) * scene.rem;
  }

  landscape() {
    const { scene, gap } = this;
    const { mode, kiosk, rem, showing } = scene;
    const crowdedKiosk = kiosk && !this.few;
    const share = crowdedKiosk && !showing ? 0.36 : 0.22;
    const side = Math.min(Math.max(17 * rem, share * scene.width), share * 155 * rem);
    const main = { x: 0, y: 0, width: scene.width - side - gap, height: scene.height };
    let column = { x: main.width + gap, y: 0, width: side, height: scene.height };
    if (!this.few && mode !== "grid" && !(crowdedKiosk && !showing)) {
      const strip = this.#strip();
      main.height -= strip + gap;
      column = { ...column, height: main.height };
    }
    if (mode === "evidence") {
      this.#put("evidence", main, "large");
      column = this.#above(column, this.large, "medium");
    } else {
      if (mode === "grid") this.#seats(main, scene.seats, { middle: "both" });
      else this.#abreast(main);
      if (!crowdedKiosk) column = this.#above(column, ["evidence"], "large");
    }
    if (mode !== "grid" && (this.few || (crowdedKiosk && !showing))) {
      const most = this.few ? (side - NARROW_REM * rem) / 2 : Infinity;
      column = this.#seats({ ...column, height: column.height - this.sideLeast - gap }, this.seated,
        { most, rest: column });
    }
    this.#put("side", column, "small");
    this.#wide();
  }

  portrait() {
    const { scene, gap, large } = this;
    const { mode, kiosk, showing, rem } = scene;
    let rest = { x: 0, y: 0, width: scene.width, height: scene.height };
    if (large.length) {
      const height = Math.min(this.#height(rest.width / large.length, "large"), 0.42 * scene.height);
      this.#abreast({ ...rest, height });
      rest = below(rest, height + gap);
    }
    if (this.few || kiosk) {
      if (this.few || showing) {
        const height = Math.min(this.#height(rest.width, "large"), 0.4 * scene.height);
        this.#put("evidence", { ...rest, height }, "large");
        rest = below(rest, height + gap);
      }
    } else {
      const width = (rest.width - gap) / 2;
      const height = Math.min(this.#height(width, "small"), 0.3 * scene.height);
      const y = rest.y + rest.height - height;
      this.#put("evidence", { x: 0, y, width, height }, "small");
      this.#put("side", { x: width + gap, y, width, height }, "small");
      rest = { ...rest, height: rest.height - height - gap };
    }
    const side = this.places.has("side") ? 0 : this.sideLeast + gap;
    const left = this.#seats({ ...rest, height: rest.height - side }, mode === "grid" ? scene.seats : this.seated,
      { most: this.few ? 17 * rem : Infinity, middle: this.few ? null : "across", rest });
    if (side) this.#put("side", left, "small");
    this.#wide();
  }

  /** @param {string} key @param {Area} area @param {Size} size */
  #put(key, { x, y, width, height }, size) {
    this.places.set(key, { x, y, width: Math.max(width, 0), height: Math.max(height, 0), size });
  }

  /** @param {number} width of a picture @param {Size} size */
  #height(width, size) {
    return (width * 9) / 16 + PLATE_REM[size] * this.scene.rem;
  }

  /** Those on the stage, side by side. @param {Area} area */
  #abreast(area) {
    const width = (area.width - this.gap * (this.large.length - 1)) / Math.max(this.large.length, 1);
    // Two are narrow: their plates stay with their pictures.
    const height = this.large.length < 2 ? area.height : Math.min(area.height, this.#height(width, "large"));
    const y = area.y + (area.height - height) / 2;
    this.large.forEach((id, n) => this.#put(id, { x: area.x + n * (width + this.gap), y, width, height }, "large"));
  }

  /**
   * Tiles of the whole width on top of a column.
   * @param {Area} column
   * @param {string[]} keys
   * @param {Size} size
   * @returns {Area} what is left of it
   */
  #above(column, keys, size) {
    return keys.reduce((rest, key) => {
      const height = Math.min(this.#height(rest.width, size), 0.5 * this.scene.height);
      this.#put(key, { ...rest, height }, size);
      return below(rest, height + this.gap);
    }, column);
  }

  /** All seats at the bottom of the stage, in one row or two. @returns {number} their height */
  #strip() {
    const { width, height, rem } = this.scene;
    const gap = NARROW_REM * rem;
    const count = this.seated.length;
    const rows = (width + gap) / (LEAST_REM * rem + gap) >= count ? 1 : 2;
    const area = { x: 0, y: 0, width, height: rows * 0.21 * height };
    const { size, tile, columns } = this.#fit(area, count, { least: Math.ceil(count / rows) });
    const used = Math.ceil(count / columns) * (tile.height + gap) - gap;
    this.#fill({ ...area, y: height - used }, this.seated, columns, tile, size);
    return used;
  }

  /**
   * Seats as large as they all fit.
   * @param {Area} area
   * @param {string[]} ids
   * @param {{most?: number, middle?: "both"|"across"|null, rest?: Area}} options most: width of one;
   *   middle: whether in the middle of the area; rest: of which what is below them is returned
   * @returns {Area}
   */
  #seats(area, ids, { most = Infinity, middle = null, rest = area }) {
    if (!ids.length) return rest;
    const gap = NARROW_REM * this.scene.rem;
    const { size, tile, columns } = this.#fit(area, ids.length, { most });
    const used = Math.ceil(ids.length / columns) * (tile.height + gap) - gap;
    const across = columns * (tile.width + gap) - gap;
    const x = area.x + (middle ? (area.width - across) / 2 : 0);
    const y = area.y + (middle === "both" ? (area.height - used) / 2 : 0);
    this.#fill({ ...area, x, y }, ids, columns, tile, size);
    return below(rest, used + this.gap);
  }

  /**
   * The number of columns at which tiles are largest.
   * @param {Area} area
   * @param {number} count
   * @param {{most?: number, least?: number}} limits most: width of a tile; least: columns
   * @returns {{columns: number, size: Size, tile: {width: number, height: number}}}
   */
  #fit(area, count, { most = Infinity, least = 1 }) {
    const { rem } = this.scene;
    const gap = NARROW_REM * rem;
    /** @param {Size} size */
    const best = (size) => {
      let [columns, width] = [least, 0];
      for (let tried = least; tried <= Math.max(count, least); tried++) {
        const rows = Math.ceil(count / tried);
        const across = (area.width - gap * (tried - 1)) / tried;
        const down = (((area.height - gap * (rows - 1)) / rows - PLATE_REM[size] * rem) * 16) / 9;
        const fits = Math.min(across, down, most);
        if (fits > width) [columns, width] = [tried, fits];
      }
      return { columns, size, tile: { width, height: this.#height(width, size) } };
    };
    const medium = best("medium");
    if (medium.tile.width >= SMALL_BELOW_REM * rem) return medium;
    const small = best("small");
    return small.tile.width >= TINY_BELOW_REM * rem ? small : best("tiny");
  }

  /**
   * @param {Area} area
   * @param {string[]} ids
   * @param {number} columns
   * @param {{width: number, height: number}} tile
   * @param {Size} size
   */
  #fill(area, ids, columns, tile, size) {
    const gap = NARROW_REM * this.scene.rem;
    ids.forEach((id, n) => {
      const x = area.x + (n % columns) * (tile.width + gap);
      const y = area.y + Math.floor(n / columns) * (tile.height + gap);
      this.#put(this.large.includes(id) ? emptySeat(id) : id, { x, y, ...tile }, size);
    });
  }

  /** A second picture of the one person on the stage, in the corner of the first. */
  #wide() {
    const place = this.places.get(this.large[0]);
    if (this.large.length !== 1 || this.scene.mode !== "stage" || !place) return;
    const width = 0.26 * place.width;
    const height = (width * 9) / 16;
    const plate = PLATE_REM.large * this.scene.rem;
    this.#put("wide", {
      x: place.x + place.width - width - this.gap, y: place.y + place.height - plate - height - this.gap, width, height,
    }, "small");
  }
}

/** @param {Area} area @param {number} used @returns {Area} */
function below(area, used) {
  return { ...area, y: area.y + used, height: Math.max(area.height - used, 0) };
}
