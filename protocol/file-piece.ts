/**
 * A file in pieces, each an envelope of the file's own box. To a node that holds them they are
 * envelopes like others, of a number and a size that tell the length in Padmé steps.
 *
 * ```text
 *   padded length   P = Padmé(length)
 *   content bytes   65,492 in each piece for files up to 1 MiB, else 249,812 (so that piece and
 *                   overhead are exactly 64 KiB and 244 KiB); pieces = max(1, ⌈P / that⌉)
 *   ciphertext      u32    index              from 0
 *                   opaque nonce[24]          start of HMAC-SHA256(nonce key, u32 index ‖ plaintext)
 *                   XChaCha20-Poly1305(piece key, nonce, plaintext),
 *                     AD "openim file piece v1" ‖ u32 index ‖ u32 pieces
 *   plaintext       content, then zeros: so that the ciphertext of the last piece, of what is left
 *                   of P, is a size class or a Padmé length (codec/padding.ts)
 *   keys            HKDF(file key, salt empty, info "openim file piece key v1", "openim file nonce v1")
 * ```
 *
 * The nonce depends on the plaintext, as in a synthetic IV (RFC 5297 has the idea): a transfer
 * that goes on after a crash makes the same envelope of the same bytes, with the same id, so
 * nothing is stored twice; and a file that changed meanwhile never meets a nonce that was used.
 */
import { concat, utf8 } from '../crypto/bytes.ts'
import { assert } from '../crypto/errors.ts'
import type { Result } from '../crypto/errors.ts'
import { crypto } from '../crypto/index.ts'
import type { SigningKeyPair } from '../crypto/provider.ts'
import { padme } from './codec/padding.ts'
import { ciphertextLength, createEnvelope } from './envelope.ts'
import { limits } from './limits.ts'

const nonceBytes = 24
const indexBytes = 4
/** Index, nonce and tag. */
export const pieceOverheadBytes = indexBytes + nonceBytes + 16
const smallPieceBytes = 65_536 - pieceOverheadBytes
const largePieceBytes = limits.ciphertextBytesMax - pieceOverheadBytes
const adLabel = utf8('openim file piece v1')
const noSalt = new Uint8Array(0)

/** How a file of this length is cut. */
export function pieceBytesFor(length: number): number {
  return length <= limits.fileSmallBytesMax ? smallPieceBytes : largePieceBytes
}

export interface FileShape {
  readonly length: number
  readonly pieceBytes: number
  readonly paddedBytes: number
  readonly pieces: number
}

/** `undefined` for what no sender makes, or what is too large. */
export function fileShape(
  file: { readonly length: number, readonly pieceBytes: number },
): FileShape | undefined {
  const { length, pieceBytes } = file
  const isFull = ciphertextLength(pieceBytes + pieceOverheadBytes) === pieceBytes + pieceOverheadBytes
  if (length > limits.fileBytesMax || pieceBytes < 1 || !isFull) return undefined
  const paddedBytes = padme(length)
  const pieces = Math.max(1, Math.ceil(paddedBytes / pieceBytes))
  return pieces > limits.filePiecesMax ? undefined : { length, pieceBytes, paddedBytes, pieces }
}

/** Where the content of a piece lies in the file; the last may have none, being padding. */
export function pieceRange(shape: FileShape, index: number): { offset: number, length: number } {
  const offset = Math.min(index * shape.pieceBytes, shape.length)
  return { offset, length: Math.min(shape.pieceBytes, shape.length - offset) }
}

function plaintextBytes(shape: FileShape, index: number): number {
  const left = Math.min(shape.pieceBytes, shape.paddedBytes - index * shape.pieceBytes)
  return ciphertextLength(left + pieceOverheadBytes)! - pieceOverheadBytes
}

/** What the pieces of one file have in common. */
export interface FileKeys {
  readonly shape: FileShape
  readonly pieceKey: Uint8Array
  readonly nonceKey: Uint8Array
}

export function fileKeys(shape: FileShape, key: Uint8Array): FileKeys {
  const derive = (info: string): Uint8Array =>
    crypto.hkdf({ secret: key, salt: noSalt, info: utf8(info), length: 32 })
  return { shape, pieceKey: derive('openim file piece key v1'), nonceKey: derive('openim file nonce v1') }
}

/** Room for a box that holds the file: envelopes and what a node writes around each. */
export function fileBoxBytes(shape: FileShape): number {
  const around = 512
  let bytes = 0
  for (let index = 0; index < shape.pieces; index++) {
    bytes += plaintextBytes(shape, index) + pieceOverheadBytes + around
  }
  return bytes
}

export interface SealedPiece {
  /** Stands for the content of the piece: other content has another one. */
  readonly nonce: Uint8Array
  /** Makes the ciphertext, of which only a caller in need of it has to pay for. */
  ciphertext(): Uint8Array
}

/** @param content exactly as long as `pieceRange` says */
export function sealPiece(keys: FileKeys, index: number, content: Uint8Array): SealedPiece {
  const { shape, pieceKey, nonceKey } = keys
  assert(content.length === pieceRange(shape, index).length, `a piece of ${content.length} bytes`)
  const numbered = new Uint8Array(indexBytes + plaintextBytes(shape, index))
  numbered.set(u32(index))
  numbered.set(content, indexBytes)
  const nonce = crypto.hmacSha256(nonceKey, numbered).slice(0, nonceBytes)
  const plaintext = numbered.subarray(indexBytes)
  return {
    nonce,
    ciphertext: () =>
      concat(u32(index), nonce, crypto.sealX({ key: pieceKey, nonce, plaintext, ad: adOf(shape, index) })),
  }
}

/** The number a piece says to have; it is true only when the piece opens. */
export function pieceIndex(ciphertext: Uint8Array): number | undefined {
  if (ciphertext.length < pieceOverheadBytes) return undefined
  return new DataView(ciphertext.buffer, ciphertext.byteOffset).getUint32(0)
}

/** The content of a piece, and where it belongs. Refuses with FILE_PIECE. */
export function openPiece(
  keys: FileKeys,
  ciphertext: Uint8Array,
): Result<{ readonly index: number, readonly content: Uint8Array }> {
  const { shape, pieceKey } = keys
  const refusal = { ok: false, code: 'FILE_PIECE' } as const
  const index = pieceIndex(ciphertext)
  if (index === undefined || index >= shape.pieces) return refusal
  if (ciphertext.length !== plaintextBytes(shape, index) + pieceOverheadBytes) return refusal
  const nonce = ciphertext.subarray(indexBytes, indexBytes + nonceBytes)
  const sealed = ciphertext.subarray(indexBytes + nonceBytes)
  const plaintext = crypto.openX({ key: pieceKey, nonce, ciphertext: sealed, ad: adOf(shape, index) })
  if (plaintext === undefined) return refusal
  const { length } = pieceRange(shape, index)
  if (plaintext.subarray(length).some((byte) => byte !== 0)) return refusal
  return { ok: true, value: { index, content: plaintext.subarray(0, length) } }
}

/** The piece as an envelope of the file's box. */
export function pieceEnvelope(
  box: { readonly writeKeys: SigningKeyPair, readonly readKey: Uint8Array, readonly expiryHour: number },
  piece: SealedPiece,
): Uint8Array {
  return createEnvelope({ ...box, ciphertext: piece.ciphertext() })
}

function adOf({ pieces }: FileShape, index: number): Uint8Array {
  return concat(adLabel, u32(index), u32(pieces))
}

function u32(value: number): Uint8Array {
  const bytes = new Uint8Array(4)
  new DataView(bytes.buffer).setUint32(0, value)
  return bytes
}
