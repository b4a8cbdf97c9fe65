/**
 * What stands on a session and what a session stands on: the interfaces that the Client SDK
 * (device side), the Router (node side) and the connectors program against. The machines are
 * numbered-session.ts (both sides), device-session.ts and session-host.ts (DESIGN §4).
 *
 * A session outlives its links. Each side numbers its frames, keeps them until the other side has
 * consumed them, and sends them again on the next link, so that every frame arrives once and in
 * order as long as both processes live. A process that lost its memory starts a new session; the
 * application then says again what still matters (`reset`, `opened`), which is why its requests
 * are idempotent.
 */
import type { Result } from '../../crypto/errors.ts'
import type { Frame } from '../frame/frame.ts'
import type { MessageLink } from '../ports.ts'

// ── Device side ─────────────────────────────────────────────────────────────────────────────

/** Opens a fresh link to the node, handshake included. */
export interface Dialer {
  /**
   * Rejects with an OpenIMError when there is no way now (`LINK_UNREACHABLE`, `CHANNEL_*`); the
   * session tries again later. When `signal` aborts it rejects and leaves nothing open.
   */
  dial(signal: AbortSignal): Promise<MessageLink>
}

export interface DeviceSessionListener {
  /**
   * Frames in order, once each, one at a time: the next one waits until the promise settles, and
   * with it, past the receive window, the node. A throw or rejection is a bug of ours: the session
   * ends with SESSION_FAILED (see `state`) and begins anew.
   */
  frame(frame: Frame): void | Promise<void>
  /**
   * Going online and offline; also, with its code, each attempt that failed. It tries again by
   * itself, except after `SESSION_REPLACED`: another process logged in with this device's key.
   * `cause` is what `frame` threw when the code is SESSION_FAILED.
   */
  state(online: boolean, code?: string, cause?: unknown): void
  /**
   * A session begins that continues no earlier one: the first, or the node lost the old one. What
   * was sent in the old one may or may not have arrived and nothing of it comes back: say again
   * what still matters. Called before `state(true)` and before any frame of the new session.
   */
  reset(): void
}

/** Implemented by `DeviceSession`. */
export interface DeviceSessionApi {
  readonly online: boolean
  /** Begins to dial; returns at once. */
  start(): void
  /** Says bye, lets what was taken leave, closes. Idempotent; pending sends reject. */
  stop(): Promise<void>
  /**
   * Settles when the session has taken the frame into its send window: at once while there is
   * room, also when offline in a live session; it does not mean that the node has it. Before the
   * first session it waits.
   * @throws SESSION_ENDED (the session it waited in is gone, or stopped; `details.reason` says
   *   why), SESSION_QUEUE_FULL (too many sends not awaited), SESSION_FRAME_SIZE
   */
  send(frame: Frame): Promise<void>
}

// ── Node side ───────────────────────────────────────────────────────────────────────────────

/** A device's session at its node. `Who` is what `authorise` made of the device key. */
export interface HostedSession<Who> {
  /** Hex, for logs; unguessable. */
  readonly id: string
  readonly who: Who
  readonly deviceKey: Uint8Array
  /** Whether it has a link now. */
  readonly online: boolean
  /** Of the current or last link. */
  readonly transport: string
  readonly remote: string
  /**
   * Settles when taken into the send window (at once while `writable`). Await it, or send only
   * while `writable`, so that a slow device holds up its own work and nobody else's.
   * @throws SESSION_ENDED, SESSION_QUEUE_FULL, SESSION_FRAME_SIZE
   */
  send(frame: Frame): Promise<void>
  /** Whether the next `send` settles at once: there is room in the window and nothing waits. */
  readonly writable: boolean
  /** Frames not yet consumed by the device, in bytes (64 for each frame included). */
  readonly bufferedBytes: number
  /** Tells the device and ends the session; it may log in anew. */
  end(code: string, detail?: string): void
}

export interface SessionHostListener<Who> {
  /**
   * Whose device is it? A refusal's code reaches the device (`DEVICE_UNKNOWN`); a throw does as
   * SESSION_FAILED. Asked for each link; a resumed session keeps the `Who` it began with.
   */
  authorise(deviceKey: Uint8Array): Result<Who> | Promise<Result<Who>>
  /** A new session, not a resumed one. The first frame comes after it. */
  opened(session: HostedSession<Who>): void
  /**
   * In order, once each, one at a time per session: the next one waits until the promise settles.
   * A rejection is a bug of ours and ends the session with SESSION_FAILED.
   */
  frame(session: HostedSession<Who>, frame: Frame): void | Promise<void>
  /** It is `writable` again after it was not. */
  drain(session: HostedSession<Who>): void
  /** Its link came (also on a resume) or went; the session itself lives on. */
  linked(session: HostedSession<Who>, online: boolean): void
  /**
   * Last call, also when it was online: SESSION_BYE, SESSION_EXPIRED, SESSION_REPLACED,
   * SESSION_STOPPED, or what went wrong. `cause` is what `frame` threw when it is SESSION_FAILED.
   */
  ended(session: HostedSession<Who>, code: string, cause: unknown): void
}

/** What a connector hands over: `AcceptedLink` of node/ports.ts has this shape. */
export interface IncomingLink {
  readonly link: MessageLink
  /** X25519 static key that the device proved in the Noise handshake. */
  readonly deviceKey: Uint8Array
  readonly remote: string
}

/** Implemented by `SessionHost`. */
export interface SessionHostApi<Who> {
  /** Takes over a link of any connector: authorises the device, then begins or resumes its session. */
  accept(incoming: IncomingLink): void
  /** Live sessions, with or without a link. */
  sessions(): Iterable<HostedSession<Who>>
  /** Says bye on every link and ends every session with SESSION_STOPPED. Idempotent. */
  stop(): Promise<void>
}
