/** The form that books a new session: what, when, where, who. */

import { html, nothing } from "/vendor/lit-html/lit-html.js";
import { live } from "/vendor/lit-html/directives/live.js";
import { clock, day, readMoment } from "./format.js";
import { codeOf, detailOf, request } from "./http.js";
import { placeName, t } from "./texts.js";
import { problemNotice } from "./ui/notices.js";

/** @import { Account, Role, SiteRoom } from "./types.js" */

const KINDS = ["interrogation", "witness", "evidence_exchange", "hearing", "mediation"];
/** @type {Role[]} */
const SEATS = ["questioner", "second_officer", "clerk", "subject", "interpreter", "observer"];

export class BookingForm {
  /**
   * @param {{accountId: string, rooms: SiteRoom[], changed: () => void, cancelled: () => void,
   *   booked: () => void}} options
   */
  constructor(options) {
    this.options = options;
    /** @type {Account[]} */
    this.people = [];
    /** @type {string|null} */
    this.problem = null;
    this.detail = "";
    this.sending = false;
    const now = new Date();
    const interrogation = options.rooms.find((room) => room.kind === "interrogation");
    const detention = options.rooms.find((room) => room.kind === "detention");
    /** @type {Record<string, string>} */
    this.values = {
      case_number: "",
      kind: KINDS[0],
      title: "",
      starts: `${day(now)} ${clock(now)}`,
      room: interrogation?.id ?? "",
      detention_room: detention?.id ?? "",
      questioner: options.accountId,
    };
    /** @type {Set<string>} names of the fields that are not filled in properly */
    this.wrong = new Set();
  }

  /** Loads the people who can be given a seat. */
  async start() {
    try {
      this.people = (await request("/api/people")).people;
      this.seatTerminal();
    } catch (cause) {
      this.problem = codeOf(cause);
    }
    this.options.changed();
  }

  /** The subject's seat is that of the terminal at the chosen detention site. */
  seatTerminal() {
    const room = this.options.rooms.find(({ id }) => id === this.values.detention_room);
    const terminal = this.people.find(
      (person) => person.role === "terminal" && person.site_id === room?.site_id,
    );
    this.values.subject = terminal?.id ?? "";
  }

  /** @param {Event} event */
  changed = (event) => {
    const field = /** @type {HTMLInputElement|HTMLSelectElement} */ (event.target);
    this.values[field.name] = field.value;
    this.wrong.delete(field.name);
    if (field.name === "detention_room") this.seatTerminal();
    this.options.changed();
  };

  /** @param {Event} event */
  submitted = async (event) => {
    event.preventDefault();
    const starts = readMoment(this.values.starts);
    const needed = ["case_number", "title", "room", "detention_room", "questioner", "subject"];
    this.wrong = new Set(needed.filter((name) => !this.values[name]?.trim()));
    if (!starts) this.wrong.add("starts");
    if (this.wrong.size || !starts) {
      this.options.changed();
      document.getElementById(`booking-${[...this.wrong][0]}`)?.focus();
      return;
    }
    this.sending = true;
    this.options.changed();
    try {
      await request("/api/sessions", { body: this.booking(starts) });
      this.options.booked();
    } catch (cause) {
      this.problem = codeOf(cause);
      this.detail = detailOf(cause);
      this.sending = false;
      this.options.changed();
    }
  };

  /**
   * What is sent to the server.
   * @param {Date} starts
   */
  booking(starts) {
    return {
      case_number: this.values.case_number.trim(),
      kind: this.values.kind,
      title: this.values.title.trim(),
      starts_at: starts.toISOString(),
      room_id: this.values.room,
      detention_room_id: this.values.detention_room,
      assignments: SEATS.filter((role) => this.values[role])
        .map((role) => ({ account_id: this.values[role], role })),
    };
  }

  /**
   * @param {string} name
   * @param {string} [hint]
   */
  textField(name, hint) {
    const wrong = this.wrong.has(name);
    return html`
      <div class="field">
        <label for="booking-${name}">${t(`booking.${name}`)}</label>
        <input class="input" id="booking-${name}" name=${name} .value=${live(this.values[name])}
          aria-invalid=${wrong} aria-describedby="booking-${name}-note" @input=${this.changed}
          autocomplete="off" data-testid="booking-${name}">
        <span id="booking-${name}-note" class=${wrong ? "problem" : "hint"}>
          ${wrong ? t(`booking.${name}_wrong`) : hint ?? nothing}</span>
      </div>`;
  }

  /**
   * @param {string} name
   * @param {string} label
   * @param {{value: string, text: string}[]} options
   */
  choice(name, label, options) {
    const wrong = this.wrong.has(name);
    return html`
      <div class="field">
        <label for="booking-${name}">${label}</label>
        <select class="input" id="booking-${name}" name=${name} @change=${this.changed}
          aria-invalid=${wrong} data-testid="booking-${name}">
          ${options.map(({ value, text }) => html`
            <option value=${value} .selected=${value === (this.values[name] ?? "")}>${text}</option>`)}
        </select>
        ${wrong ? html`<span class="problem">${t("booking.choose")}</span>` : nothing}
      </div>`;
  }

  /** @param {Role} role */
  seat(role) {
    const people = this.people.filter(
      (person) => (role === "subject") === (person.role === "terminal"),
    );
    return this.choice(role, t(`role.${role}`), [
      { value: "", text: t("booking.nobody") },
      ...people.map(({ id, display_name }) => ({ value: id, text: display_name })),
    ]);
  }

  /** @param {"interrogation"|"detention"} kind */
  roomOptions(kind) {
    return this.options.rooms.filter((room) => room.kind === kind)
      .map((room) => ({
        value: room.id,
        text: `${placeName(room.site_id, room.site_name)} ${placeName(room.id, room.name)}`,
      }));
  }

  view() {
    return html`
      <form class="booking" @submit=${this.submitted} novalidate aria-label=${t("lobby.new")}>
        ${problemNotice(this.problem, this.detail)}
        <div class="booking-fields">
          ${this.textField("case_number")}
          ${this.choice("kind", t("booking.kind"), KINDS.map((kind) => ({
            value: kind, text: t(`kind.${kind}`) })))}
          ${this.textField("title", t("booking.title_hint"))}
          ${this.textField("starts", t("booking.starts_hint"))}
          ${this.choice("room", t("booking.room"), this.roomOptions("interrogation"))}
          ${this.choice("detention_room", t("booking.detention_room"), this.roomOptions("detention"))}
          ${SEATS.map((role) => this.seat(role))}
        </div>
        <div class="row">
          <button class="button primary" type="submit" ?disabled=${this.sending}
            data-testid="book">${t("booking.action")}</button>
          <button class="button" type="button" @click=${this.options.cancelled}>
            ${t("cancel")}</button>
        </div>
      </form>`;
  }
}
