/**
 * Shapes of what the server says: the signalling protocol (docs/PROTOCOL.md), the HTTP interface and
 * the description of an archive. Types only; nothing runs here.
 *
 * @typedef {"scheduled"|"waiting"|"live"|"paused"|"closing"|"closed"|"sealed"} Phase
 * @typedef {"questioner"|"second_officer"|"clerk"|"subject"|"interpreter"|"observer"} Role
 * @typedef {"camera"|"wide_camera"|"microphone"|"evidence_display"|"document_camera"} Source
 * @typedef {"off"|"starting"|"recording"|"stalled"|"paused"|"sealing"|"sealed"|"failed"} RecordingState
 *
 * @typedef {object} Recording
 * @property {RecordingState} state
 * @property {number} recorded_ms durable on disk
 * @property {number} copies
 * @property {string|null} [reason]
 *
 * @typedef {object} Track
 * @property {string} track_id
 * @property {Source} source
 * @property {string} codec
 * @property {boolean} muted
 *
 * @typedef {object} Participant
 * @property {string} id
 * @property {string} name
 * @property {Role} role
 * @property {string|null} site_id
 * @property {string|null} site_name
 * @property {"yes"|"reconnecting"|"no"} present
 * @property {string|null} away_since wall time at which their line broke, while they are reconnecting
 * @property {Track[]} tracks
 *
 * @typedef {object} RoomState
 * @property {Phase} phase
 * @property {number|null} t_us
 * @property {string} wall
 * @property {string|null} pause_reason
 * @property {Recording} recording
 * @property {string|null} live_since
 * @property {Participant[]} participants
 *
 * @typedef {"good"|"weak"|"bad"} NetworkClass
 * @typedef {{class: NetworkClass|null, up_loss: number|null, down_loss: number|null,
 *   rtt_ms: number|null, limit_bps?: number|null}} Line a person's line as the server sees it; null where it does not know
 *
 * @typedef {{rid: "h"|"m"|"l"|null, reason: "view"|"line"|"paused"|null}} Layer what is received of a
 *   picture: h in full, null nothing; and why it is not the best
 *
 * @typedef {object} Session
 * @property {string} id
 * @property {string} case_number
 * @property {string} kind
 * @property {string} title
 * @property {string} starts_at
 *
 * @typedef {object} Welcome
 * @property {number} version
 * @property {string} participant_id
 * @property {string} resume
 * @property {Session} session
 * @property {RoomState} state
 * @property {string|null} publishing name of our sending connection that the server still has
 * @property {string|null} receiving name of our receiving connection that it still has
 * @property {string[]} permissions
 * @property {number} server_wall_ms
 * @property {RTCIceServer[]} ice_servers
 * @property {string[]} codecs in order of preference: "H264", "VP8"
 * @property {number} video_max_kbps
 * @property {boolean} simulcast whether a camera is sent in three sizes
 *
 * @typedef {object} OfferedTrack
 * @property {string} mid
 * @property {string} track_id
 * @property {string} participant_id
 * @property {Source} source
 *
 * @typedef {{peer: string, sdp: string, tracks: OfferedTrack[]}} Offer
 * @typedef {{peer: string, sdp: string, tracks: {mid: string, track_id: string}[]}} Published
 * @typedef {{type: string, t_us?: number|null, wall?: string, participant_id?: string, name?: string,
 *   text?: string, reason?: string, note?: string, cause?: string, code?: string, source?: Source,
 *   track_id?: string, muted?: boolean, line?: number, [field: string]: any}} RoomEvent
 *
 * @typedef {object} Account
 * @property {string} id
 * @property {string} name
 * @property {string} display_name
 * @property {"admin"|"officer"|"terminal"|"reviewer"} role
 * @property {string|null} site_id
 *
 * @typedef {object} SiteRoom
 * @property {string} id
 * @property {string} name
 * @property {string} site_id
 * @property {string} site_name
 * @property {"interrogation"|"detention"} kind
 * @property {{slot: string, name: string}[]} devices
 *
 * @typedef {object} Assignment
 * @property {string} participant_id
 * @property {string} name
 * @property {Role} role
 *
 * @typedef {object} ListedSession
 * @property {string} id
 * @property {string} case_number
 * @property {string} kind
 * @property {string} title
 * @property {string} starts_at
 * @property {Phase} phase
 * @property {SiteRoom} room
 * @property {SiteRoom} detention_site
 * @property {Assignment[]} assignments
 * @property {Role|null} my_role
 * @property {string|null} archive_id
 *
 * @typedef {object} ListedArchive
 * @property {string} id
 * @property {string} session_id
 * @property {string} case_number
 * @property {string} title
 * @property {string|null} opened_wall
 * @property {number|null} duration_ms
 * @property {number} tracks
 * @property {boolean} sealed
 *
 * @typedef {object} ReplaySegment
 * @property {number} n
 * @property {string} file
 * @property {number} size
 * @property {string} sha256
 * @property {number} t0_us where it belongs on the session clock
 * @property {number} end_us
 * @property {number} offset_us t0 minus the time that the file itself says
 * @property {number} line of the ledger
 *
 * @typedef {{from_us: number, to_us: number, cause: string}} ReplayGap
 *
 * @typedef {object} ReplayTrack
 * @property {string} track_id
 * @property {Source} source
 * @property {string} participant_id
 * @property {string} label
 * @property {string|null} site
 * @property {string} codec
 * @property {string} mime
 * @property {string|null} container null, like init, for a track that never brought anything
 * @property {{file: string, size: number, sha256: string}|null} init
 * @property {ReplaySegment[]} segments
 * @property {ReplayGap[]} gaps
 * @property {number} expected_us
 * @property {number} captured_us
 *
 * @typedef {object} Replay
 * @property {string} archive_id
 * @property {{id: string, case_number: string, kind: string, title: string,
 *   participants: {id: string, name: string, role: Role, site_name?: string|null}[]}} session
 * @property {string} opened_wall
 * @property {number} duration_us
 * @property {[number, number][]} live
 * @property {ReplayTrack[]} tracks
 * @property {RoomEvent[]} events
 * @property {boolean} unsealed
 *
 * @typedef {{step: number, file: string, place: string, expected: string, found: string}} VerificationFailure
 * @typedef {{number: number, name: string, ok: boolean, failures: VerificationFailure[],
 *   failure: VerificationFailure|null, count: number, detail: string}} VerificationStep
 * @typedef {{sealed: boolean, anchored: boolean, root_sha256: string, steps: VerificationStep[],
 *   reasons: string[]}} VerificationReport
 */

export {};
