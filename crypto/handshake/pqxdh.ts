/**
 * The handshake: PQXDH (Signal's specification, revision 3) with X25519, ML-KEM-768 and SHA-256,
 * from which a Double Ratchet starts. The first message of the session is the handshake.
 *
 * ```text
 *            initiator                      responder
 *   DH1      identity dhKey          ×      signed prekey
 *   DH2      base key                ×      identity dhKey
 *   DH3      base key                ×      signed prekey
 *   DH4      base key                ×      one-time prekey, when there is one
 *   SS       ML-KEM-768 encapsulated to the KEM prekey
 *
 *   transcript = SHA-256(label ‖ initiator signingKey[32] dhKey[32] baseKey[32]
 *                        ‖ responder signingKey[32] dhKey[32]
 *                        ‖ u32 signed prekey id, publicKey[32]
 *                        ‖ bool kemOneTime, u32 KEM prekey id, publicKey[1184]
 *                        ‖ bool, u32 one-time prekey id, publicKey[32]   (zeros when there is none)
 *                        ‖ kemCiphertext[1088])
 *   rootKey ‖ headerKey ‖ nextHeaderKey =
 *     HKDF(salt zeros[32],
 *          secret 0xff[32] ‖ DH1 ‖ DH2 ‖ DH3 [‖ DH4] ‖ SS,
 *          info label ‖ transcript)
 * ```
 *
 * Stricter than the specification: separate signing and DH identity keys (no XEdDSA); everything
 * both ends know goes into the derivation, the KEM public key too (specification §4.12: a
 * re-encapsulation to another key gives other session keys), and the transcript is in the
 * associated data of every message. The labels name the suite, so a weaker one cannot be slipped
 * in later. What it gives, and what not: docs/threats.md.
 */
import { concat, equalBytes, wipe } from '../bytes.ts'
import type { Result } from '../errors.ts'
import { u32Bytes, u8Bytes } from '../fields.ts'
import { crypto } from '../index.ts'
import { labels } from '../labels.ts'
import type { Random } from '../random.ts'
import { Ratchet } from '../ratchet/ratchet.ts'
import type { SessionKeys } from '../ratchet/ratchet.ts'
import { encodeInitialHeader, identityHolds, proveIdentity } from './initial-header.ts'
import type { InitialHeader } from './initial-header.ts'
import { bundleProblem } from './prekeys.ts'
import type { OwnIdentity, PrekeyBundle, PrekeyIds, PrekeyLookup, RemoteIdentity } from './types.ts'

const keyBytes = 32
/** Stands before the DH outputs, as PQXDH §2.2 asks for curve25519. */
const domain = new Uint8Array(keyBytes).fill(0xff)
const zeros = new Uint8Array(keyBytes)

export interface Initiated {
  readonly ratchet: Ratchet
  readonly baseKey: Uint8Array
  readonly prekeyIds: PrekeyIds
  /** Goes before every message until the first answer. */
  readonly header: Uint8Array
}

/**
 * Refuses HANDSHAKE_SIGNATURE (the bundle does not vouch for itself), HANDSHAKE_KEY (a key of
 * small order, or no ML-KEM key) or HANDSHAKE_IDENTITY (it is our own).
 */
export function initiateHandshake(input: {
  own: OwnIdentity
  bundle: PrekeyBundle
  random: Random
}): Result<Initiated> {
  const { own, bundle, random } = input
  if (isOwn(own, bundle.identity)) return refuse('HANDSHAKE_IDENTITY', 'the bundle is our own')
  const problem = bundleProblem(bundle)
  if (problem !== undefined) return refuse('HANDSHAKE_SIGNATURE', problem)
  const { identity, signedPrekey, kemPrekey, oneTimePrekey } = bundle

  const base = crypto.dhKeyPair(random.bytes(keyBytes))
  const encapsulated = crypto.kemEncapsulate(kemPrekey.publicKey, random)
  if (encapsulated === undefined) return refuse('HANDSHAKE_KEY', 'the KEM prekey is no ML-KEM-768 key')
  const keys = deriveSessionKeys({
    dhOutputs: [
      crypto.dh(own.dhKeys, signedPrekey.publicKey),
      crypto.dh(base, identity.dhKey),
      crypto.dh(base, signedPrekey.publicKey),
      ...(oneTimePrekey === undefined ? [] : [crypto.dh(base, oneTimePrekey.publicKey)]),
    ],
    kemSecret: encapsulated.sharedSecret,
    transcript: transcriptHash({
      initiator: publicIdentity(own),
      baseKey: base.publicKey,
      bundle,
      kemCiphertext: encapsulated.ciphertext,
    }),
  })
  const ratchet = keys && Ratchet.initiator({ keys, remotePrekey: signedPrekey.publicKey, random })
  if (ratchet === undefined) return smallOrder()
  const prekeyIds = prekeyIdsOf(bundle)
  const header = encodeInitialHeader({
    initiator: publicIdentity(own),
    proof: proveIdentity(own),
    baseKey: base.publicKey,
    prekeyIds,
    kemCiphertext: encapsulated.ciphertext,
  })
  return { ok: true, value: { ratchet, baseKey: base.publicKey, prekeyIds, header } }
}

/**
 * The ratchet that reads the message behind `header`. Until it has, the initiator is not
 * authenticated: only who holds its DH key can have written that message.
 *
 * Refuses HANDSHAKE_IDENTITY (our own, reflected; or its keys do not belong together),
 * HANDSHAKE_PREKEY (unknown or used up) or HANDSHAKE_KEY (a key of small order).
 */
export function respondHandshake(input: {
  own: OwnIdentity
  header: InitialHeader
  prekeys: PrekeyLookup
}): Result<Ratchet> {
  const { own, header, prekeys } = input
  if (isOwn(own, header.initiator)) return refuse('HANDSHAKE_IDENTITY', 'our own handshake came back')
  if (!identityHolds(header)) return refuse('HANDSHAKE_IDENTITY', 'keys that do not belong together')

  const { signedPrekeyId, kemPrekeyId, kemOneTime, oneTimePrekeyId } = header.prekeyIds
  const signedPrekey = prekeys.signedPrekey(signedPrekeyId)
  const kemPrekey = prekeys.kemPrekey(kemPrekeyId, kemOneTime)
  const oneTimePrekey = oneTimePrekeyId === undefined ? undefined : prekeys.oneTimePrekey(oneTimePrekeyId)
  if (signedPrekey === undefined) return unknownPrekey('signed', signedPrekeyId)
  if (kemPrekey === undefined) return unknownPrekey('KEM', kemPrekeyId)
  if (oneTimePrekeyId !== undefined && oneTimePrekey === undefined) {
    return unknownPrekey('one-time', oneTimePrekeyId)
  }

  const { initiator, baseKey, kemCiphertext } = header
  const keys = deriveSessionKeys({
    dhOutputs: [
      crypto.dh(signedPrekey, initiator.dhKey),
      crypto.dh(own.dhKeys, baseKey),
      crypto.dh(signedPrekey, baseKey),
      ...(oneTimePrekey === undefined ? [] : [crypto.dh(oneTimePrekey, baseKey)]),
    ],
    kemSecret: crypto.kemDecapsulate(kemPrekey, kemCiphertext),
    transcript: transcriptHash({
      initiator,
      baseKey,
      bundle: {
        identity: publicIdentity(own),
        signedPrekey: { id: signedPrekeyId, publicKey: signedPrekey.publicKey },
        kemPrekey: { id: kemPrekeyId, publicKey: kemPrekey.publicKey, oneTime: kemOneTime },
        ...(oneTimePrekey && { oneTimePrekey: { id: oneTimePrekeyId!, publicKey: oneTimePrekey.publicKey } }),
      },
      kemCiphertext,
    }),
  })
  if (keys === undefined) return smallOrder()
  return { ok: true, value: Ratchet.responder({ keys, own: signedPrekey }) }
}

/** Whether no one-time prekey went into a handshake: its first message can be sent to run again. */
export function isFromLastResort({ kemOneTime, oneTimePrekeyId }: PrekeyIds): boolean {
  return !kemOneTime && oneTimePrekeyId === undefined
}

export function publicIdentity(own: OwnIdentity): RemoteIdentity {
  return { signingKey: own.signingKeys.publicKey, dhKey: own.dhKeys.publicKey }
}

export function sameIdentity(a: RemoteIdentity, b: RemoteIdentity): boolean {
  return equalBytes(a.signingKey, b.signingKey) && equalBytes(a.dhKey, b.dhKey)
}

/** One shared key is enough: a device that lends its keys to another identity is none of ours. */
function isOwn(own: OwnIdentity, remote: RemoteIdentity): boolean {
  return equalBytes(own.signingKeys.publicKey, remote.signingKey)
    || equalBytes(own.dhKeys.publicKey, remote.dhKey)
}

/** A bundle without its signatures, as the responder can rebuild it. */
export interface UnsignedBundle {
  readonly identity: RemoteIdentity
  readonly signedPrekey: { readonly id: number, readonly publicKey: Uint8Array }
  readonly kemPrekey: { readonly id: number, readonly publicKey: Uint8Array, readonly oneTime: boolean }
  readonly oneTimePrekey?: { readonly id: number, readonly publicKey: Uint8Array }
}

/** All that both ends must agree on; the `binding` of the session. */
export function transcriptHash(input: {
  initiator: RemoteIdentity
  baseKey: Uint8Array
  bundle: UnsignedBundle
  kemCiphertext: Uint8Array
}): Uint8Array {
  const { initiator, baseKey, bundle, kemCiphertext } = input
  const { identity, signedPrekey, kemPrekey, oneTimePrekey } = bundle
  return crypto.sha256(concat(
    labels.handshakeTranscript,
    initiator.signingKey, initiator.dhKey, baseKey,
    identity.signingKey, identity.dhKey,
    u32Bytes(signedPrekey.id), signedPrekey.publicKey,
    u8Bytes(kemPrekey.oneTime ? 1 : 0), u32Bytes(kemPrekey.id), kemPrekey.publicKey,
    u8Bytes(oneTimePrekey === undefined ? 0 : 1), u32Bytes(oneTimePrekey?.id ?? 0),
    oneTimePrekey?.publicKey ?? zeros,
    kemCiphertext,
  ))
}

/** `undefined` when a DH output is, that is, when somebody's key is of small order. Wipes its secrets. */
export function deriveSessionKeys(input: {
  dhOutputs: (Uint8Array | undefined)[]
  kemSecret: Uint8Array
  transcript: Uint8Array
}): SessionKeys | undefined {
  const dhOutputs = input.dhOutputs.filter((output) => output !== undefined)
  const secret = concat(domain, ...dhOutputs, input.kemSecret)
  const info = concat(labels.handshakeKeys, input.transcript)
  const out = crypto.hkdf({ secret, salt: zeros, info, length: 3 * keyBytes })
  const keys = {
    rootKey: out.slice(0, keyBytes),
    headerKey: out.slice(keyBytes, 2 * keyBytes),
    nextHeaderKey: out.slice(2 * keyBytes),
    binding: input.transcript,
  }
  wipe(secret, out, input.kemSecret, ...dhOutputs)
  return dhOutputs.length === input.dhOutputs.length ? keys : undefined
}

function prekeyIdsOf({ signedPrekey, kemPrekey, oneTimePrekey }: PrekeyBundle): PrekeyIds {
  return {
    signedPrekeyId: signedPrekey.id,
    kemPrekeyId: kemPrekey.id,
    kemOneTime: kemPrekey.oneTime,
    ...(oneTimePrekey && { oneTimePrekeyId: oneTimePrekey.id }),
  }
}

function smallOrder(): Result<never> {
  return refuse('HANDSHAKE_KEY', 'an X25519 key is of small order')
}

function unknownPrekey(kind: string, id: number): Result<never> {
  return refuse('HANDSHAKE_PREKEY', `the ${kind} prekey ${id} is unknown or was used before`)
}

function refuse(code: string, detail: string): Result<never> {
  return { ok: false, code, detail }
}
