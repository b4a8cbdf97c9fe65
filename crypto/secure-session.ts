import type { Result } from './errors.ts'
import type { OwnIdentity, PrekeyBundle, PrekeyIds, PrekeyLookup, RemoteIdentity } from './handshake/types.ts'
import type { Random } from './random.ts'

/** What an initial message says in the clear; `undefined` for anything that is not an initial message (HANDSHAKE_FORMAT refused later). */
export interface InitialPeek extends PrekeyIds {
  readonly remote: RemoteIdentity
}
/** For loading prekeys from an asynchronous store before `SecureSession.respond`. Nothing in it is authenticated yet. */
export declare function peekInitial(message: Uint8Array): InitialPeek | undefined

/** The sessions of one pair of devices. */
export declare class SecureSession {
  /** With `existing`, its sessions are archived behind the new one (session reset). On refusal `existing` is unchanged; else it is the returned one. */
  static initiate(input: {
    own: OwnIdentity
    bundle: PrekeyBundle
    existing?: SecureSession
    random: Random
  }): Result<SecureSession>
  /** Takes an initial message (`peekInitial` !== undefined). Same object as `existing` when given. With a known base key it is `decrypt`, and no prekey is `used`. */
  static respond(input: {
    own: OwnIdentity
    message: Uint8Array
    ad: Uint8Array
    prekeys: PrekeyLookup
    /** Refuses HANDSHAKE_IDENTITY unless the initiator is this device. */
    remote?: RemoteIdentity
    existing?: SecureSession
  }): Result<{ session: SecureSession, plaintext: Uint8Array, used: PrekeyIds | undefined }>
  /** @throws SESSION_CORRUPT */
  static deserialize(bytes: Uint8Array): SecureSession

  get remote(): RemoteIdentity
  /** State must be durable before the result leaves. */
  encrypt(input: { plaintext: Uint8Array, ad: Uint8Array, random: Random }): Uint8Array
  /** Unchanged on refusal: SESSION_DUPLICATE, SESSION_UNDECRYPTABLE, SESSION_TOO_FAR, SESSION_FORMAT, SESSION_HANDSHAKE (initial message of a new handshake: call respond). */
  decrypt(input: { message: Uint8Array, ad: Uint8Array }): Result<Uint8Array>
  serialize(): Uint8Array
  clone(): SecureSession
  /** Overwrites all secrets; the session must not be used afterwards. */
  wipe(): void
}
