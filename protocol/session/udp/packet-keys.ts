/**
 * Sealing and opening of data packets with the keys of a finished handshake (Noise §11.4: the
 * counter travels, so packets may be lost and come in any order).
 *
 * Keys change by themselves: packet number n is sealed with the key of epoch ⌊n / 2²⁰⌋, and each
 * epoch's key is REKEY (Noise §4.2) of the one before. Nobody has to say so, both ends count. The
 * receiver keeps the keys of the epoch it is in and of the one before for packets that come late,
 * and makes that of the next; two epochs ahead nobody honest can be, so a forged counter costs one
 * derivation at most. Nonces never repeat: 2⁵³ packets are not sent. A connection that was sent
 * `limits.udpForgeriesMax` packets that do not open ends (RFC 9001 §6.6).
 */
import { assert } from '../../../crypto/errors.ts'
import type { NoiseCipher } from '../../../crypto/noise.ts'
import { limits } from '../../limits.ts'

const tagBytes = 16

function epochOf(counter: number): number {
  return Math.floor(counter / limits.udpKeyPackets)
}

export class PacketSealer {
  #cipher: NoiseCipher
  #epoch = 0

  /** @param cipher owned from now on */
  constructor(cipher: NoiseCipher) {
    this.#cipher = cipher
  }

  /** The whole packet, behind its header. Counters must grow. */
  seal(counter: number, header: Uint8Array, plaintext: Uint8Array): Uint8Array {
    const epoch = epochOf(counter)
    assert(epoch >= this.#epoch, `packet ${counter} after epoch ${this.#epoch}`)
    for (; this.#epoch < epoch; this.#epoch++) {
      const old = this.#cipher
      this.#cipher = old.rekeyed()
      old.wipe()
    }
    const packet = new Uint8Array(header.length + plaintext.length + tagBytes)
    packet.set(header)
    this.#cipher.encryptAt(counter, { plaintext, ad: header, into: packet.subarray(header.length) })
    return packet
  }

  wipe(): void {
    this.#cipher.wipe()
  }
}

export class PacketOpener {
  #previous: NoiseCipher | undefined
  #current: NoiseCipher
  #next: NoiseCipher | undefined
  #epoch = 0
  #forgeries = 0

  /** @param cipher owned from now on */
  constructor(cipher: NoiseCipher) {
    this.#current = cipher
  }

  get exhausted(): boolean {
    return this.#forgeries >= limits.udpForgeriesMax
  }

  /** `undefined`: not by the peer, or too old, or too far ahead to be. */
  open(counter: number, header: Uint8Array, sealed: Uint8Array): Uint8Array | undefined {
    const ahead = epochOf(counter) - this.#epoch
    const cipher = this.#cipherFor(ahead)
    const plaintext = cipher?.decryptAt(counter, sealed, header)
    if (plaintext === undefined) this.#forgeries++
    else if (ahead === 1) this.#advance()
    return plaintext
  }

  wipe(): void {
    for (const cipher of [this.#previous, this.#current, this.#next]) cipher?.wipe()
  }

  #cipherFor(ahead: number): NoiseCipher | undefined {
    if (ahead === 0) return this.#current
    if (ahead === -1) return this.#previous
    if (ahead !== 1) return undefined
    this.#next ??= this.#current.rekeyed()
    return this.#next
  }

  #advance(): void {
    this.#previous?.wipe()
    this.#previous = this.#current
    this.#current = this.#next!
    this.#next = undefined
    this.#epoch++
  }
}
